"""Where this clone is: every other fixed place (configs, jars, data, suites) is found from its root."""

from __future__ import annotations

from pathlib import Path


def clone_root() -> Path:
    """The folder that this package is installed from: `include/exp_platform` lies two folders below the root."""
    return Path(__file__).resolve().parents[2]
