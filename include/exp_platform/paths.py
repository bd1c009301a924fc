"""The root folder of this clone; configs, jars, data and suites are found from it."""

from __future__ import annotations

from pathlib import Path


def clone_root() -> Path:
    """The folder that this package is installed from: `include/exp_platform` lies two folders below the root."""
    return Path(__file__).resolve().parents[2]
