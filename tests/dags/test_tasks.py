"""The tasks of `experiment_analysis` that are not Spark applications."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from exp_platform.airflow import tasks
from exp_platform.alerts.history import History
from exp_platform.alerts.model import Kind
from exp_platform.config.load import Project

pytestmark = pytest.mark.airflow


class GateInstance:
    """The task instance of a gate."""

    dag_id, run_id, task_id = "experiment_analysis", "r1", "srm_gate"

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str) -> dict[str, Any]:
        return self.run

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def gate(project: Project, monkeypatch: pytest.MonkeyPatch) -> GateInstance:
    run = {"config": str(project.path), "experiment_id": "exp_checkout_button_001", "dt": "2026-01-14", "run_id": "r1"}
    ti = GateInstance(run)
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"ti": ti})
    monkeypatch.setattr("exp_platform.airflow.lake_reads.verdict_rows", lambda run, table: [{}])
    return ti


def test_a_red_gate_says_its_sentence_line_by_line_and_where_the_memo_is(
    gate: GateInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "not trusted: a failed; b failed"
    with pytest.raises(AirflowFailException, match=f"^{sentence}$"):
        tasks._judge(lambda rows: sentence, "gold.some_table")
    said: list[Any] = capsys.readouterr().out.splitlines()
    assert said[:2] == ["not trusted: a failed;", "b failed"]
    assert said[2].startswith("next: http")
    assert said[2].endswith("/experiments/memos/exp_checkout_button_001/2026-01-14.html")
    assert gate.pushed["failure"] == {"stage": "srm_gate", "exit_code": 0, "sentence": sentence, "since": ""}


def test_a_gate_that_was_red_on_the_days_before_says_since_when(
    gate: GateInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = frozenset(date(2026, 1, day) for day in (11, 12, 13))
    past = History(days, {Kind.SRM_FAILED: days}, {})
    monkeypatch.setattr("exp_platform.alerts.history.history_of", lambda project, experiment_id: past)
    with pytest.raises(AirflowFailException, match=r"a failed; failing since 2026-01-11, 4 mornings$"):
        tasks._judge(lambda rows: "not trusted: a failed", "gold.some_table")
    assert gate.pushed["failure"]["since"] == "failing since 2026-01-11, 4 mornings"


def test_a_verdict_stands_when_its_past_cannot_be_read(gate: GateInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(project: object, experiment_id: str) -> None:
        raise OSError("the catalog is away")

    monkeypatch.setattr("exp_platform.alerts.history.history_of", broken)
    with pytest.raises(AirflowFailException, match=r"^not trusted: a failed$"):
        tasks._judge(lambda rows: "not trusted: a failed", "gold.some_table")


@pytest.mark.parametrize("make", [tasks.quality_gate, tasks.srm_gate, tasks.guardrail_gate, tasks.alert])
def test_gates_and_alert_have_the_button_to_the_memo_of_their_day_also_when_they_fail(
    gate: GateInstance, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make()

    def fail() -> None:
        raise AirflowFailException("red")

    monkeypatch.setattr(task, "call", fail)
    with pytest.raises(AirflowFailException):
        task.execute({"ti": gate})
    [link] = task.operator_extra_links
    assert link.get_link(task, ti_key=None) == "/experiments/memos/exp_checkout_button_001/2026-01-14.html"
    assert task.retries == 2
