"""The accessibility checker axe-core, fetched with npm where it is not there yet; a test tool that is in no lock."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".setup" / "axe"
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
WORDS = ("--no-save", "--no-audit", "--no-fund", "axe-core@4.10.3")


def axe_script() -> str:
    """The script that a page runs; without npm the test skips, and an installation that fails is a failure."""
    if not SCRIPT.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is fetched with npm, and this machine has none (Debian: apt-get install npm)")
        FOLDER.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER.parent) as own:  # two workers may fetch it at once
            command = [npm, "install", "--prefix", own, *WORDS]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            shutil.copytree(own, FOLDER, dirs_exist_ok=True)
    return SCRIPT.read_text(encoding="utf-8")
