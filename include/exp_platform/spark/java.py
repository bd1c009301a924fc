"""Find a Java version that Spark supports, 17 or 21."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from exp_platform.errors import ConfigError

SUPPORTED = (17, 21)
_FOLDERS = ("/usr/lib/jvm", "/opt/java", "/opt", "/Library/Java/JavaVirtualMachines")


def java_version(java: str) -> int | None:
    """The major version of a java binary; None when it does not answer."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    return int(match.group(1)) if match else None


def _candidates() -> list[str]:
    found: list[str] = []
    home = os.environ.get("JAVA_HOME")
    if home:
        found.append(str(Path(home) / "bin" / "java"))
    on_path = shutil.which("java")
    if on_path:
        found.append(str(Path(on_path).resolve()))
    for folder in _FOLDERS:
        found += sorted(str(p) for p in Path(folder).glob("*/bin/java"))
        found += sorted(str(p) for p in Path(folder).glob("*/Contents/Home/bin/java"))
    return list(dict.fromkeys(found))


@cache
def find_java_home() -> str:
    """The home of the first Java 17 or 21 in JAVA_HOME, PATH and the usual folders."""
    seen = []
    for java in _candidates():
        version = java_version(java)
        if version in SUPPORTED:
            return str(Path(java).resolve().parents[1])
        seen.append(f"{java} ({version or 'no answer'})")
    raise ConfigError(
        f"No Java 17 or 21 found (looked at JAVA_HOME, PATH, {', '.join(_FOLDERS)}; "
        f"found: {', '.join(seen) or 'none'}). Install one, or set JAVA_HOME."
    )
