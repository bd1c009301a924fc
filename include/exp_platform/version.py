"""The version of the code, which is stored with every published number."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

_SOURCES = {".py", ".json", ".j2", ".css"}


@cache
def code_version() -> str:
    """The package's version and a hash of its source files, which needs no git and covers uncommitted changes."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for file in sorted(p for p in package.rglob("*") if p.suffix in _SOURCES):
        digest.update(str(file.relative_to(package)).encode())
        digest.update(file.read_bytes())
    return f"{metadata.version('exp-platform')}+{digest.hexdigest()[:12]}"
