"""Failures of a run's stages, as later tasks of the run find them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from exp_platform.airflow.jobs import FAILURE_KEY
from exp_platform.errors import cause_first, wrapped

if TYPE_CHECKING:
    from airflow.sdk import Context

_DEAD = ("failed", "upstream_failed")


def first_failure(context: Context, stages: Iterable[str]) -> dict[str, Any] | None:
    """The failure that the earliest failed stage has left in XCom; None when no stage has left one."""
    found = [context["ti"].xcom_pull(task_ids=stage, key=FAILURE_KEY) for stage in stages]
    return next((failure for failure in found if failure), None)


def task_states(context: Context) -> dict[str, Any]:
    """Task id -> state, for every task of this run."""
    ti = context["ti"]
    return dict(ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {}))


def dead_stages(context: Context, stages: Iterable[str]) -> list[str]:
    """Stages that failed or could not start, in order; a stage that was killed or timed out has left no failure."""
    states = task_states(context)
    return [name for name in stages if states.get(name) in _DEAD]


def refused(error: BaseException) -> AirflowFailException:
    """The final error of a task that refuses to go on: the cause first, the path last, wrapped for the log."""
    return AirflowFailException(wrapped(cause_first(str(error))))
