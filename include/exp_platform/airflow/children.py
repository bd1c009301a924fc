"""The operator that starts one `experiment_analysis` run for each experiment that is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from exp_platform.airflow.outcomes import outcome_of, sentence_on
from exp_platform.errors import wrapped

if TYPE_CHECKING:
    from airflow.sdk import Context


OUTCOME_KEY = "outcome"  # XCom key of `analyse`: how the run of its experiment ended
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

    def execute_complete(self, context: Context, event: Any) -> None:
        """Tell how the child run ended: red with experiment and gate, skipped when its failure was red before."""
        outcome = self._outcome(context, event[1]["run_ids"][0])
        context["ti"].xcom_push(OUTCOME_KEY, outcome)
        try:
            super().execute_complete(context, event)
        except AirflowException:
            said = f"{outcome['experiment_id']}: {sentence_on(outcome)}"
            if outcome["known"]:
                raise AirflowSkipException(f"nothing new, its own run is red: {said}") from None
            raise AirflowFailException(wrapped(said)) from None

    def _outcome(self, context: Context, run_id: str) -> dict[str, Any]:
        """The outcome of the child run; without details when they can't be read, as a retry would start it anew."""
        ti, dag_id = context["ti"], self.trigger_dag_id

        def pull(task_id: str, key: str) -> Any:
            return ti.xcom_pull(task_ids=task_id, key=key, dag_id=dag_id, run_id=run_id, map_indexes=-1)

        try:
            states = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
            found = outcome_of(states, pull)
        except Exception:
            self.log.exception("how the run %s ended cannot be read", run_id)
            found = outcome_of({}, lambda *_: None)
        return found | {"experiment_id": self.experiment["experiment_id"], "run_id": run_id}
