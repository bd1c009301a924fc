"""What became of the stages of a run, as the tasks after them see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from exp_platform.airflow.jobs import FAILURE_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

_DEAD = ("failed", "upstream_failed")


def first_failure(context: Context, stages: Iterable[str]) -> dict[str, Any] | None:
    """What the earliest failed stage said; None when none has said anything."""
    found = [context["ti"].xcom_pull(task_ids=stage, key=FAILURE_KEY) for stage in stages]
    return next((failure for failure in found if failure), None)


def task_states(context: Context) -> dict[str, Any]:
    """State of every task of this run."""
    ti = context["ti"]
    return dict(ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {}))


def dead_stages(context: Context, stages: Iterable[str]) -> list[str]:
    """Stages that failed or could not start, in their order; one that was killed or timed out has said nothing."""
    states = task_states(context)
    return [name for name in stages if states.get(name) in _DEAD]
