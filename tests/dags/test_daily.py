"""The daily run: the experiments that it finds, the data that it waits for, and the runs that it starts."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from exp_platform.airflow.children import child_run_id
from exp_platform.airflow.daily import EarlierDaysFirst, due_experiments, firing_of
from exp_platform.airflow.landing import RawLandedTrigger, RawReady, has_landed
from exp_platform.config.load import Project

pytestmark = pytest.mark.airflow

ID = "exp_checkout_button_001"


def land(project: Project, day: str, dataset: str = "outcomes") -> None:
    folder = Path(project.raw_folder(ID)) / dataset / f"dt={day}"
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_bytes(b"PAR1")


def test_the_due_experiments_come_with_the_day_before_the_firing_instant(project: Project) -> None:
    found = due_experiments(str(project.path), datetime(2026, 1, 11, tzinfo=UTC))
    assert ID in [experiment["experiment_id"] for experiment in found]
    assert {experiment["dt"] for experiment in found} == {"2026-01-10"}
    assert due_experiments(str(project.path), datetime(2027, 1, 1, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("logical_date", "data_interval_end"),
    [
        (datetime(2026, 1, 11, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC)),
        (datetime(2026, 1, 10, tzinfo=UTC),) * 1 + (datetime(2026, 1, 11, tzinfo=UTC),),
        (datetime(2026, 1, 11, tzinfo=UTC), None),
        (None, None),
    ],
)
def test_the_firing_instant_is_the_same_whether_or_not_airflow_makes_data_intervals(
    logical_date: datetime | None, data_interval_end: datetime | None
) -> None:
    after = datetime(2026, 1, 11, tzinfo=UTC)
    run = SimpleNamespace(logical_date=logical_date, data_interval_end=data_interval_end, run_after=after)
    assert firing_of({"dag_run": run}) == after  # type: ignore[typeddict-item]


def test_a_broken_registry_file_does_not_hide_the_other_experiments(project: Project) -> None:
    (project.root / "configs" / "experiments" / "exp_broken.yaml").write_text("experiment_id: [\n")
    found = due_experiments(str(project.path), datetime(2026, 1, 11, tzinfo=UTC))
    assert ID in [experiment["experiment_id"] for experiment in found]
    assert "exp_broken" not in [experiment["experiment_id"] for experiment in found]


def test_a_day_has_landed_when_it_or_a_later_day_has_files_of_outcomes(project: Project) -> None:
    config = str(project.path)
    assert not has_landed(config, ID, "2026-01-10")
    land(project, "2026-01-10", dataset="assignments")
    assert not has_landed(config, ID, "2026-01-10")
    land(project, "2026-01-10")
    assert has_landed(config, ID, "2026-01-10")
    assert has_landed(config, ID, "2026-01-09")
    assert not has_landed(config, ID, "2026-01-11")


def wanted(project: Project) -> dict[str, Any]:
    return {"experiment_id": ID, "dt": "2026-01-10", "config": str(project.path), "timeout_hours": 6}


def test_raw_ready_defers_only_when_it_has_to_wait(project: Project) -> None:
    task = RawReady(task_id="raw_ready", experiment=wanted(project))
    with pytest.raises(TaskDeferred):
        task.execute({})
    land(project, "2026-01-10")
    task.execute({})


def test_the_trigger_tells_when_the_day_has_landed_and_when_the_time_is_up(project: Project) -> None:
    def event(until: float) -> dict[str, Any]:
        trigger = RawLandedTrigger(str(project.path), ID, "2026-01-10", until, 0.05)
        return dict(asyncio.run(anext(trigger.run())).payload)

    assert event(time.time() + 0.2) == {"landed": False}
    land(project, "2026-01-10")
    assert event(time.time() + 60) == {"landed": True}


def test_a_day_that_never_lands_is_told_and_fails_for_good(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(RawReady, "_alert", lambda self, context, sentence: told.append(sentence))
    task = RawReady(task_id="raw_ready", experiment=wanted(project))
    with pytest.raises(AirflowFailException, match="no raw outcomes of 2026-01-10 after 6 h"):
        task.resume({}, {"landed": False})
    assert len(told) == 1
    task.resume({}, {"landed": True})


def test_a_child_is_the_same_for_the_same_day_and_try() -> None:
    experiment = {"experiment_id": ID, "dt": "2026-01-10"}
    assert child_run_id(experiment, 1) == f"{ID}__2026-01-10__1"
    assert child_run_id(experiment, 2) != child_run_id(experiment, 1)


def test_a_day_waits_for_the_latest_earlier_day_that_is_still_running() -> None:
    with DAG("daily_experiments", schedule=None):
        task = EarlierDaysFirst(task_id="earlier_days_first")
    busy = SimpleNamespace(get_previous_dagrun=lambda state: SimpleNamespace(run_id=f"{state}_before"))
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": busy})
    assert caught.value.trigger.run_ids == ["running_before"]
    task.execute({"ti": SimpleNamespace(get_previous_dagrun=lambda state: None)})
