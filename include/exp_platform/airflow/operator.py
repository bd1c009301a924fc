"""One stage of the pipeline as one Spark application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from exp_platform.airflow.jobs import SparkJobOperator
from exp_platform.airflow.links import DataDocsLink, MemoLink

if TYPE_CHECKING:
    from airflow.sdk import Context


def stage_arguments(run: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> list[str]:
    """`--name=value` for each value that is set, so that a value beginning with dashes stays a value.

    Words with spaces between them in `extra` become the same option several times.
    """
    values = {
        "config": run["config"],
        "experiment-id": run["experiment_id"],
        "dt": run["dt"],
        "run-id": run["run_id"],
        "analysis-mode": run.get("analysis_mode"),
    }
    arguments = [f"--{name}={value}" for name, value in values.items() if value not in (None, "")]
    return arguments + [f"--{name}={word}" for name, value in (extra or {}).items() for word in words_of(value)]


def words_of(value: Any) -> list[str]:
    """Several values of one option, written with spaces between them."""
    return str(value).split() if value not in (None, "") else []


class StageOperator(SparkJobOperator):
    """Submits a stage for the run that the task `resolve_run` has resolved."""

    operator_extra_links = (MemoLink(), DataDocsLink())

    def __init__(
        self, *, stage: str, only_with: str | None = None, passes: tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        # Of several runs that wait for the pool, the one that is furthest goes on: a memo now, not all at the end.
        super().__init__(job=stage, weight_rule="upstream", **kwargs)
        self.only_with = only_with  # key of the run without which this stage is skipped
        self.passes = passes  # keys of the run that this stage takes beside the usual ones
        self.experiment_id: str | None = None  # known when the task runs, as is the next; the links need them
        self.memo_dt: str | None = None

    def job_arguments(self, context: Context) -> tuple[str, list[str]]:
        """What `resolve_run` has decided; without it, or without what this stage is for, the stage is skipped."""
        run = context["ti"].xcom_pull(task_ids="resolve_run")
        if not run or (self.only_with and not run.get(self.only_with)):
            raise AirflowSkipException(f"without {self.only_with}" if run else "the run could not be resolved")
        self.experiment_id, self.memo_dt = run["experiment_id"], run["dt"]
        extra = {key.replace("_", "-"): run.get(key) for key in self.passes}
        return run["config"], stage_arguments(run, extra)
