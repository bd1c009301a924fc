"""The end of a run outside Airflow: alerts are sent and the claim is released."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, FencedConflict, Superseded
from exp_platform.ledger.claim import current_claim
from exp_platform.pipelines import run_end_to_end as module
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage

ID, DT = "exp_checkout_button_001", date(2026, 1, 14)


@pytest.mark.parametrize(
    ("error", "tries", "told"),
    [
        (ConfigError("dt: wrong"), 1, 0),
        (Superseded("superseded by run r2"), 1, 0),
        (FencedConflict("somebody else changed these rows"), 2, 1),
        (OSError("disk full"), 1, 1),
    ],
)
def test_a_crash_and_a_second_conflict_are_told_a_wrong_word_and_a_newer_run_are_not(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int, told: int
) -> None:
    started: list[str] = []
    alerts: list[BaseException | None] = []

    def fail(run: Run, stage: Any, **options: Any) -> None:
        started.append(stage.name)
        run_stage(run, stage, **options)
        raise error

    monkeypatch.setattr(module, "run_stage", fail)
    monkeypatch.setattr(module, "alert_after_run", lambda *_, error=None, **__: alerts.append(error))
    with pytest.raises(type(error)):
        module.run_end_to_end(Run(project, ID, DT, "r1"), log=lambda line: None)
    assert started == ["sync_registry"] * tries
    assert alerts == [error] * told
    held = current_claim(project, ID)
    assert held is not None
    assert held.released_at is not None
