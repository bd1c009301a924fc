"""`write_memo` runs whatever happened before it; what it does depends on what that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from exp_platform.airflow.jobs import SparkJobOperator
from exp_platform.airflow.memo import MemoOperator
from exp_platform.config.load import Project
from exp_platform.ledger.claim import claim, current_claim
from exp_platform.pipelines.dates import parse_dt
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.airflow

ID = "exp_checkout_button_001"


class FakeTaskInstance:
    """Hands out the run and the failures of stages."""

    dag_id, run_id = "experiment_analysis", "r1"

    def __init__(
        self, run: dict[str, Any] | None, failures: dict[str, dict[str, Any]], states: dict[str, str] | None = None
    ) -> None:
        self.run = run
        self.failures = failures
        self.states = states or {}
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.run if key == "return_value" else self.failures.get(task_ids)

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        return {self.run_id: self.states}


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    jobs: list[str] = []
    monkeypatch.setattr(SparkJobOperator, "execute", lambda self, context: jobs.append(self.job))
    return jobs


def write(
    project: Project, failures: dict[str, dict[str, Any]], states: dict[str, str] | None = None
) -> FakeTaskInstance:
    run = {"config": str(project.path), "experiment_id": ID, "dt": "2026-01-10", "run_id": "r1"}
    stages = ["ingest_events", "analyze_results"]
    task = MemoOperator(
        task_id="write_memo", stage=BY_NAME["write_memo"], job_folder=project.root, upstream_stages=stages
    )
    ti = FakeTaskInstance(run, failures, states)
    task.execute({"ti": ti})  # type: ignore[typeddict-item]
    return ti


def failed(exit_code: int) -> dict[str, dict[str, Any]]:
    return {"ingest_events": {"stage": "ingest_events", "exit_code": exit_code, "sentence": "3 rows have no user_id"}}


def test_when_every_stage_is_done_the_job_writes_it_and_decision_and_trust_are_left_for_the_runs_note(
    project: Project, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"variant_id": "treatment", "decision": "ship", "trust": "trusted"},
        {"variant_id": "all", "decision": "keep_running", "trust": "caution"},
    ]
    monkeypatch.setattr("exp_platform.airflow.lake_reads.verdict_rows", lambda run, table: rows)
    ti = write(project, {})
    assert submitted == ["write_memo"]
    assert ti.pushed == {"answer": {"decision": "Keep running", "trust": "Caution"}}


def test_a_decision_that_cannot_be_read_does_not_cost_the_memo(project: Project, submitted: list[str]) -> None:
    assert write(project, {}).pushed == {}
    assert submitted == ["write_memo"]


def test_a_broken_contract_is_written_above_the_last_memo_and_the_task_is_red_until_it_is_mended(
    project: Project, submitted: list[str]
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        write(project, failed(65))
    said = "blocked, as the memo says above its last numbers, because ingest_events: 3 rows have no user_id"
    assert str(caught.value).split() == said.split()
    assert submitted == []
    memo = Path(project.resolve(project.profile.memo_dir)) / f"{ID}.md"
    assert "3 rows have no user_id" in memo.read_text()


def test_airflow_clears_the_memo_of_a_blocked_run_together_with_what_blocked_it(project: Project) -> None:
    """`Clear only failed` leaves out what has succeeded or was skipped: then the banner would outlive the mend."""
    for failures in (failed(65), failed(1), failed(64), failed(66)):
        with pytest.raises(AirflowFailException):
            write(project, failures)


@pytest.mark.parametrize("exit_code", [1, 64, 66, 137])
def test_after_any_other_failure_the_memo_stays_as_it_was(
    project: Project, submitted: list[str], exit_code: int
) -> None:
    with pytest.raises(AirflowFailException, match=r"the memo stays as it was, because ingest_events: 3 rows"):
        write(project, failed(exit_code))
    assert submitted == []


@pytest.mark.parametrize("state", ["failed", "upstream_failed"])
def test_after_a_stage_that_was_killed_or_timed_out_an_earlier_runs_numbers_are_not_taken_for_this_runs(
    project: Project, submitted: list[str], state: str
) -> None:
    with pytest.raises(AirflowFailException, match="the memo stays as it was: analyze_results ended without a word"):
        write(project, {}, {"ingest_events": "success", "analyze_results": state})
    assert submitted == []


def test_a_run_that_could_not_be_resolved_leaves_a_red_task_that_is_cleared_with_it(project: Project) -> None:
    task = MemoOperator(
        task_id="write_memo", stage=BY_NAME["write_memo"], job_folder=project.root, upstream_stages=["ingest_events"]
    )
    with pytest.raises(AirflowFailException, match="the memo stays as it was: the run could not be resolved"):
        task.execute({"ti": FakeTaskInstance(None, {})})  # type: ignore[typeddict-item]


def test_the_last_stage_gives_the_experiment_back(project: Project, submitted: list[str]) -> None:
    claim(project, ID, "r1", parse_dt("2026-01-10"), started_by="test")
    write(project, {})
    held = current_claim(project, ID)
    assert held is not None
    assert held.released_at is not None


def test_the_claim_of_a_newer_run_is_left_alone(project: Project, submitted: list[str]) -> None:
    claim(project, ID, "r2", parse_dt("2026-01-10"), started_by="test")
    with pytest.raises(AirflowFailException):
        write(project, failed(66))
    held = current_claim(project, ID)
    assert held is not None
    assert (held.run_id, held.released_at) == ("r2", None)
