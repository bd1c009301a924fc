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
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from exp_platform.airflow.children import TriggerAnalysis, child_run_id
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
    monkeypatch.setattr(RawReady, "_alert", lambda self, context, owner_id, sentence: told.append(sentence))
    task = RawReady(task_id="raw_ready", experiment=wanted(project))
    pushed: dict[str, Any] = {}
    context: Any = {"ti": SimpleNamespace(xcom_push=pushed.__setitem__)}
    with pytest.raises(AirflowFailException, match=f"{ID}: no raw outcomes of 2026-01-10 after 6 h"):
        task.resume(context, {"landed": False})
    assert len(told) == 1
    assert (pushed["failure"]["experiment_id"], pushed["failure"]["failed"][0]["task"]) == (ID, "raw_ready")
    task.resume(context, {"landed": True})


class Parent:
    """The task instance of `analyse`: it reads how the child run ended, and keeps what it pushes."""

    try_number = 1

    def __init__(self, states: dict[str, str], left: dict[tuple[str, str], Any]) -> None:
        self.states = states
        self.left = left
        self.pushed: dict[str, Any] = {}

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        assert dag_id == "experiment_analysis"
        return {run_ids[0]: self.states}

    def xcom_pull(self, task_ids: str, key: str, dag_id: str, run_id: str, map_indexes: int) -> Any:
        assert (dag_id, run_id, map_indexes) == ("experiment_analysis", CHILD, -1)
        return self.left.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


CHILD = f"{ID}__2026-01-10__1"


def child_ended(ti: Parent, state: str) -> None:
    task = TriggerAnalysis(task_id="analyse", experiment={"experiment_id": ID, "dt": "2026-01-10", "config": "c"})
    context: Any = {"ti": ti}
    task.execute_complete(context, ("DagStateTrigger", {"run_ids": [CHILD], CHILD: state}))


def red_gate(since: str) -> Parent:
    sentence = "not trusted: variant_mismatch failed on 2026-01-08" + (f"; {since}" if since else "")
    states = {"quality_gate": "failed", "experiment_passed": "upstream_failed", "watcher": "failed"}
    answer = {"decision": "Invalid", "trust": "Not trusted"}
    failure = {"stage": "quality_gate", "sentence": sentence, "since": since}
    return Parent(states, {("quality_gate", "failure"): failure, ("write_memo", "answer"): answer})


def test_a_red_child_is_told_with_experiment_and_gate() -> None:
    ti = red_gate(since="")
    with pytest.raises(AirflowFailException) as caught:
        child_ended(ti, "failed")
    said = " ".join(str(caught.value).split())
    assert said == f"{ID}: quality_gate: not trusted: variant_mismatch failed on 2026-01-08"
    assert ti.pushed["outcome"]["decision"] == "Invalid"


def test_a_child_that_is_red_as_on_the_day_before_is_no_news_and_says_since_when() -> None:
    with pytest.raises(AirflowSkipException, match=f"nothing new, .*{ID}: quality_gate: .*failing since 2026-01-07"):
        child_ended(red_gate(since="failing since 2026-01-07, 4 mornings"), "failed")


def test_a_second_gate_that_turns_red_is_news_although_the_first_one_is_not() -> None:
    ti = red_gate(since="failing since 2026-01-07, 4 mornings")
    ti.states["guardrail_gate"] = "failed"
    ti.left[("guardrail_gate", "failure")] = {"sentence": "stop: latency", "since": ""}
    with pytest.raises(AirflowFailException, match=r"guardrail_gate:\s+stop:\s+latency"):
        child_ended(ti, "failed")


def test_a_crash_is_always_news_and_the_memo_that_waits_for_it_is_not_named() -> None:
    ti = Parent({"ingest_events": "failed", "write_memo": "failed"}, {("ingest_events", "failure"): {"sentence": "no"}})
    with pytest.raises(AirflowFailException, match=f"^{ID}: ingest_events: no$"):
        child_ended(ti, "failed")


def test_a_green_child_leaves_its_answer_for_the_morning() -> None:
    ti = Parent({"write_memo": "success"}, {("write_memo", "answer"): {"decision": "Ship", "trust": "Trusted"}})
    child_ended(ti, "success")
    assert ti.pushed["outcome"] == {
        "decision": "Ship",
        "trust": "Trusted",
        "failed": [],
        "known": False,
        "experiment_id": ID,
        "run_id": CHILD,
    }


def test_a_child_whose_end_cannot_be_read_is_red_and_is_not_started_again(caplog: pytest.LogCaptureFixture) -> None:
    ti = Parent({}, {})
    ti.get_task_states = lambda **_: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(AirflowFailException, match=ID):
        child_ended(ti, "failed")


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
