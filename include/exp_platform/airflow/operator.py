"""Run one stage of the pipeline as one Spark application, unless all of its rows are reused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from exp_platform.airflow.jobs import POOL, POOL_WITHOUT_SESSION, SparkJobOperator
from exp_platform.airflow.links import DataDocsLink, DriverLogLink, MemoLink
from exp_platform.pipelines.registry import Stage

if TYPE_CHECKING:
    from airflow.sdk import Context

    from exp_platform.pipelines.run import Run


class StageOperator(SparkJobOperator):
    """Runs a stage of the run that the task `resolve_run` has decided on."""

    operator_extra_links = (MemoLink(), DataDocsLink(), DriverLogLink())

    def __init__(self, *, stage: Stage, **kwargs: Any) -> None:
        # Of several runs that wait for a pool, the one that is furthest continues, so that memos come one by one.
        kwargs.setdefault("pool", POOL if stage.needs_spark else POOL_WITHOUT_SESSION)
        super().__init__(job=stage.name, needs_spark=stage.needs_spark, weight_rule="upstream", **kwargs)
        self.stage = stage
        self.experiment_id: str | None = None  # like memo_dt set when the task runs; the links read both
        self.memo_dt: str | None = None

    def execute(self, context: Context) -> None:
        """Submit the stage, unless all of its rows can be reused, which needs no JVM."""
        run = self.run_of(context)
        if self.stage.needs_spark and self._reused(run):
            return
        super().execute(context)

    def job_arguments(self, context: Context) -> tuple[str, list[str]]:
        """The profile and the command line of the stage."""
        run = self.run_of(context)
        return str(run.project.path), run.arguments(self.stage)

    def run_of(self, context: Context) -> Run:
        """The run that `resolve_run` has decided on; skips the task without a run, or a stage that is not wanted."""
        from exp_platform.pipelines.run import Run

        values = context["ti"].xcom_pull(task_ids="resolve_run")
        if not values:
            raise AirflowSkipException("the run could not be resolved")
        if self.stage.optional and not values["generate_synth"]:
            raise AirflowSkipException("without generate_synth")
        self.experiment_id, self.memo_dt = values["experiment_id"], values["dt"]
        return Run.from_xcom(values)

    def _reused(self, run: Run) -> bool:
        """True when the stage could reuse all rows in this process; after an error the stage is submitted anyway."""
        from exp_platform.pipelines.run_stage import reused_whole

        try:
            return reused_whole(run, self.stage)
        except Exception as error:
            self.log.info("the stage is submitted, because the question of reuse failed: %s", error)
            return False
