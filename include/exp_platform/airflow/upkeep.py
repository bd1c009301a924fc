"""The operator of the DAG `lakehouse_maintenance`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from exp_platform.airflow.failures import refused
from exp_platform.airflow.jobs import SparkJobOperator
from exp_platform.paths import clone_root

if TYPE_CHECKING:
    from airflow.sdk import Context


class MaintenanceOperator(SparkJobOperator):
    """Runs one maintenance step over the whole lake; safe to repeat and to interrupt."""

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(
            job="maintain_lakehouse",
            job_folder=clone_root() / "spark_jobs",
            retries=1,
            priority_weight=1,  # a run that somebody waits for gets the next free slot of the pool
            weight_rule="absolute",
            execution_timeout=timedelta(hours=12),
            **kwargs,
        )
        self.step = step

    def job_arguments(self, context: Context) -> tuple[str, list[str]]:
        """The profile and the command line of the step."""
        from exp_platform.config.load import load_project
        from exp_platform.errors import ConfigError

        try:
            config = str(load_project(context["params"]["config"], only=()).path)
        except ConfigError as error:
            raise refused(error) from None
        return config, [f"--config={config}", f"--step={self.step}"]
