"""The note of a run, which Airflow shows in its lists: written by the scheduler when the run begins and when it ends.

A task has no way to write the note of its run, so this is a listener, which has Airflow's database. It reads what the
tasks have left in XCom, and nothing of the lake. A note that a person has written stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.sdk import conf

from exp_platform.airflow.links import memo_path
from exp_platform.airflow.morning import MORNING, NOTE_KEY
from exp_platform.airflow.outcomes import outcome_of

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

MARK = "\u2063"  # an invisible character that tells this module's notes from those of people
LONGEST = 1000  # characters, which is what Airflow's database keeps

log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Say which experiment a run is about as soon as it begins."""
    _write(dag_run)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Say how a run has ended."""
    _write(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Say how a run has ended."""
    _write(dag_run)


def analysis_note(
    state: str, conf_of_run: Mapping[str, Any], run: Mapping[str, Any] | None, outcome: Mapping[str, Any], base: str
) -> str:
    """Experiment, day, decision and trust, what failed, and the way to the memo, as Markdown."""
    about = run or conf_of_run
    experiment_id, dt = about.get("experiment_id"), about.get("dt")
    words = [f"`{experiment_id}`" if experiment_id else "no experiment", dt or "latest day"]
    if state == "running":
        return " · ".join(words)
    words += [word for word in (outcome["decision"], outcome["trust"]) if word]
    refused = any(one["task"] == "resolve_run" for one in outcome["failed"])
    if not outcome["decision"]:
        words.append("configuration refused" if refused else "no new numbers" if outcome["failed"] else "no decision")
    lines = [" · ".join(words), *(f"- {one['task']}: {one['sentence']}" for one in outcome["failed"])]
    if run:
        lines.append(f"- [memo]({base}{memo_path(run['experiment_id'], run['dt'])})")
    return "\n".join(lines)


def _write(dag_run: DagRun) -> None:
    try:
        with _attached(dag_run) as (run, session):
            text = _text(run, str(dag_run.state), session)
            if text and (not run.note or run.note.startswith(MARK)):
                run.note = cut(MARK + text)
    except Exception:  # a run goes on without its note
        log.exception("the note of %s could not be written", dag_run.run_id)


@contextmanager
def _attached(dag_run: DagRun) -> Iterator[tuple[DagRun, Session]]:
    """The run in the session of the scheduler, which is about to commit; `airflow dags test` holds it in none."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    held = object_session(dag_run)
    if held is not None:
        yield dag_run, held
        return
    with create_session(scoped=False) as session:  # the scoped one is shared, and would be closed for everybody
        yield session.get_one(DagRun, dag_run.id), session


def cut(text: str) -> str:
    """The text in at most LONGEST characters, without its last whole lines where it would be longer."""
    while len(text) > LONGEST and "\n" in text:
        text = text.rpartition("\n")[0]
    return text[:LONGEST]


def _text(dag_run: DagRun, state: str, session: Session) -> str | None:
    def pull(task_id: str, key: str) -> Any:
        return _pull(dag_run, task_id, key, session)

    if dag_run.dag_id == "daily_experiments":
        note: str | None = pull(MORNING, NOTE_KEY)
        return note
    if dag_run.dag_id != "experiment_analysis":
        return None
    tasks = dag_run.get_task_instances(session=session)
    outcome = outcome_of({ti.task_id: str(ti.state) if ti.state else None for ti in tasks}, pull)
    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return analysis_note(state, dag_run.conf or {}, pull("resolve_run", "return_value"), outcome, base)


def _pull(dag_run: DagRun, task_id: str, key: str, session: Session) -> Any:
    """The value that a task has left in XCom; None without one."""
    from airflow.models.xcom import XComModel

    query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, task_ids=task_id, key=key, limit=1)
    found = session.scalars(query).first()
    return None if found is None else XComModel.deserialize_value(found)
