"""The real DAG, run by Airflow itself in this process: task instances, notes and clearing; only Spark is replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.sdk.definitions.dag import _run_task
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select
from tests.memo_kinds import KINDS

from exp_platform.airflow.jobs import FAILURE_KEY, SparkJobOperator, failure_of
from exp_platform.airflow.notes import MARK
from exp_platform.airflow.operator import StageOperator
from exp_platform.config.load import Project
from exp_platform.lake.tables.names import DECISION
from exp_platform.memo.memo_files import read_latest, write_memo

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ID, DT = "exp_checkout_button_001", "2026-01-14"
INDEX = ["index-entries.json", "index.html"]  # the page of all experiments, written with each memo
SENTENCE = "outcomes: 3 of 10 rows have no user_id (/data/raw/part-0.parquet)"


class Data:
    """The raw data of the run: broken until somebody mends them."""

    def __init__(self) -> None:
        self.broken = True


@pytest.fixture
def data(project: Project, monkeypatch: pytest.MonkeyPatch) -> Data:
    """Jobs that do what the real ones do to Airflow and to the memo, without Spark."""
    data = Data()

    def job(self: SparkJobOperator, context: Any) -> None:
        if self.job == "ingest_events" and data.broken:
            context["ti"].xcom_push(FAILURE_KEY, {"stage": self.job, "exit_code": 65, "sentence": SENTENCE})
            raise failure_of(self.job, 65, SENTENCE)
        if self.job == "write_memo":
            write_memo(project, ID, date.fromisoformat(DT), KINDS["win"](), latest=True)

    def rows(run: Any, table: str) -> list[dict[str, Any]]:
        decision = {"variant_id": "all", "decision": "keep_running", "trust": "caution", "reasons": ["young"]}
        return [decision] if table == DECISION else []

    monkeypatch.setattr(SparkJobOperator, "execute", job)
    monkeypatch.setattr(StageOperator, "_reused", lambda self, run: False)
    monkeypatch.setattr("exp_platform.airflow.lake_reads.verdict_rows", rows)
    monkeypatch.delenv("AIRFLOW_CONN_SLACK_DEFAULT", raising=False)
    return data


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Airflow writes the context of each task into the environment; the tests that follow get theirs back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def dag() -> DAG:
    initdb()
    dag = DagBag(dag_folder=str(Path(__file__).resolve().parents[2] / "dags")).dags["experiment_analysis"]
    # `dag.test` cannot build the context of a callback for a parameter without a default; a scheduler can.
    dag.on_failure_callback, dag.has_on_failure_callback = None, False
    return dag


def finish(dag: DAG, run_id: str) -> None:
    """Run what is left of a run, as the scheduler would."""
    for _ in range(3 * len(dag.tasks)):  # in some rounds Airflow only hands states on
        with create_session() as session:
            run = session.scalar(select(DagRun).where(DagRun.run_id == run_id))
            run.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
            ready, _ = run.update_state(session=session)
            for ti in ready:
                ti.try_number += 1
                ti.state = "scheduled"
            ended = str(run.state) in ("success", "failed")
            session.commit()
            session.expunge_all()
        if ended:
            return
        for ti in ready:
            _run_task(ti=ti, task=dag.task_dict[ti.task_id], run_triggerer=True)


def tell(run_id: str) -> tuple[str, str, dict[str, str]]:
    """State and note of a run, and the states of its tasks."""
    with create_session() as session:
        run = session.scalar(select(DagRun).where(DagRun.run_id == run_id))
        return str(run.state), run.note or "", {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def test_after_a_cleared_run_goes_green_no_memo_and_no_note_says_blocked(
    dag: DAG, data: Data, project: Project
) -> None:
    run_id = dag.test(run_conf={"experiment_id": ID, "dt": DT, "config": str(project.path)}).run_id
    state, note, tasks = tell(run_id)
    assert state == "failed"
    assert (tasks["ingest_events"], tasks["write_memo"], tasks["alert"]) == ("failed", "failed", "success")
    assert tasks["quality_gate"] == "upstream_failed"
    assert note.startswith(f"{MARK}`{ID}` · {DT} · no new numbers\n- ingest_events: {SENTENCE}\n- [memo](")
    blocked = read_latest(project, ID)
    assert blocked is not None
    assert blocked["blocked"]["sentence"] == SENTENCE

    data.broken = False
    DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).clear(run_id=run_id, only_failed=True)
    finish(dag, run_id)
    state, note, tasks = tell(run_id)
    assert state == "success", tasks
    assert tasks["write_memo"] == "success"
    assert note.startswith(f"{MARK}`{ID}` · {DT} · Keep running · Caution\n- [memo](")
    folder = Path(project.resolve(project.profile.memo_dir))
    written = [file for file in folder.rglob("*") if file.is_file()]
    pages = sorted(str(file.relative_to(folder)) for file in written)
    memos = [f"{ID}{day}.{kind}" for day in ("", f"/{DT}") for kind in ("html", "json", "md")]
    assert pages == sorted([*memos, *INDEX])
    assert [file.name for file in written if SENTENCE.removeprefix("outcomes: ") in file.read_text()] == []
    assert 'data-outcome="blocked"' not in (folder / "index.html").read_text()
