"""The scheduler imports ahead for its tasks, and no other process of Airflow does."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

import pytest

from exp_platform.airflow import preload

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(
    ("service", "executor", "ahead"),
    [
        ("scheduler", "LocalExecutor", preload.MODULES),
        ("scheduler", "CeleryExecutor", ()),
        ("dag-processor", "LocalExecutor", ()),
    ],
)
def test_only_a_scheduler_that_forks_its_workers_imports_ahead(
    service: str, executor: str, ahead: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr(sys, "argv", ["airflow", service])
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    monkeypatch.setattr(preload, "import_module", imported.append)
    preload.on_starting(object())
    assert tuple(imported) == ahead


def test_every_module_that_is_named_is_there() -> None:
    assert [name for name in preload.MODULES if find_spec(name) is None] == []
    assert importlib.import_module("exp_platform.airflow.plugin").ExperimentPages.listeners[-1] is preload
