"""The operator that starts one `experiment_analysis` run for each experiment that is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

if TYPE_CHECKING:
    from airflow.sdk import Context


# A red child run has had its own retries; only a fault in starting or watching it is worth another try.
_CHILD_FAILED = ExceptionRetryPolicy(
    rules=[RetryRule("airflow.sdk.exceptions.AirflowException", RetryAction.FAIL, reason="the child run is red")]
)


def child_run_id(experiment: Mapping[str, Any], try_number: int) -> str:
    """The child's run id `<experiment>__<dt>__<parent try>`: one child per day and per try of the parent."""
    return f"{experiment['experiment_id']}__{experiment['dt']}__{try_number}"


class TriggerAnalysis(TriggerDagRunOperator):
    """Start the run of one experiment and wait for it without holding a worker; red when the run is red."""

    template_fields = ("experiment",)

    def __init__(self, *, experiment: Any, **kwargs: Any) -> None:
        super().__init__(
            trigger_dag_id="experiment_analysis",
            logical_date=None,
            wait_for_completion=True,
            deferrable=True,
            reset_dag_run=True,
            poke_interval=15,
            openlineage_inject_parent_info=False,
            retries=1,
            retry_policy=_CHILD_FAILED,
            **kwargs,
        )
        self.experiment = experiment

    def execute(self, context: Context) -> None:
        """Trigger the child run; its conf holds the fields that a person would fill into the form."""
        self.conf = {key: self.experiment[key] for key in ("experiment_id", "dt", "config")}
        self.trigger_run_id = child_run_id(self.experiment, context["ti"].try_number)
        super().execute(context)
