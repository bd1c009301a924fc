"""Airflow with a home of its own: set before anything imports airflow."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from exp_platform.airflow.submitters import Job

_ROOT = Path(__file__).resolve().parents[2]
_HOME = Path(tempfile.mkdtemp(prefix="exp-airflow-"))

os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "false",
    "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(_ROOT / "include" / "exp_platform" / "airflow" / "plugins"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
}


def pytest_unconfigure() -> None:
    """Airflow's log goes to what was standard output when Airflow was imported: a file that pytest closes now."""
    for handler in list(logging.root.handlers):
        if isinstance(handler, logging.StreamHandler) and handler.stream not in (sys.__stdout__, sys.__stderr__):
            logging.root.removeHandler(handler)


@pytest.fixture
def root() -> Path:
    """The clone."""
    return _ROOT


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile with nothing in it but what a profile must have."""
    configs = tmp_path / "project" / "configs"
    configs.mkdir(parents=True)
    file = configs / "dev.yaml"
    file.write_text(
        "profile: test\n"
        f"raw_root: {tmp_path}/raw\n"
        f"catalog: {{type: sqlite, uri: {tmp_path}/catalog.db, warehouse: {tmp_path}/warehouse}}\n"
        "spark: {master: 'local[1]', driver_memory: 1g}\n"
    )
    return file


@pytest.fixture
def made(profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """A job of a profile with the given settings of `submit`; the folder of last words is local."""
    from tests.dags.submitting import maker_of_jobs  # imports airflow, which reads the settings above

    return maker_of_jobs(profile, tmp_path, monkeypatch)
