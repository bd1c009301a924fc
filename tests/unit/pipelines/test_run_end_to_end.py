"""How a run outside Airflow ends: who is told, and what is given back."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, FencedConflict, Superseded
from exp_platform.ledger.claim import current_claim
from exp_platform.pipelines import run_end_to_end as module
from exp_platform.pipelines.job import Run

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

    def fail(run: Run, stage: Any, *_: Any) -> None:
        started.append(stage.name)
        raise error

    monkeypatch.setattr(module, "_run_stage", fail)
    monkeypatch.setattr(
        "exp_platform.alerts.deliver.alert_after_run", lambda *_, error=None, **__: alerts.append(error)
    )
    with pytest.raises(type(error)):
        module.run_end_to_end(Run(project, ID, DT, "r1", by_hand=False), log=lambda line: None)
    assert started == ["sync_registry"] * tries
    assert alerts == [error] * told
    held = current_claim(project, ID)
    assert held is not None
    assert held.released_at is not None
