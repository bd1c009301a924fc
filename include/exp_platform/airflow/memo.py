"""The operator of the memo: it runs the stage `write_memo` or, for a blocked run, puts a banner on the last memo."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from exp_platform.airflow.failures import dead_stages, first_failure
from exp_platform.airflow.operator import StageOperator
from exp_platform.errors import ContractViolation

if TYPE_CHECKING:
    from airflow.sdk import Context


class MemoOperator(StageOperator):
    """Writes the memo after all other stages are done, also after failed ones."""

    def __init__(self, *, upstream_stages: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.upstream_stages = upstream_stages

    def execute(self, context: Context) -> None:
        """Run the stage when all others succeeded, write the banner when one was blocked, else leave the memo alone."""
        run = context["ti"].xcom_pull(task_ids="resolve_run")
        try:
            self._write(context, run)
        finally:
            self._release(run)

    def _write(self, context: Context, run: dict[str, Any] | None) -> None:
        failure = first_failure(context, self.upstream_stages)
        if failure is None and run is not None and (dead := dead_stages(context, self.upstream_stages)):
            # The memo of this run would show numbers of an earlier run.
            raise AirflowSkipException(f"{dead[0]} ended without a word, so the memo stays as it was: see its log")
        if failure is None or run is None:
            super().execute(context)
            return
        if failure["exit_code"] != ContractViolation.exit_code:
            raise AirflowSkipException(f"{failure['stage']} failed, so the memo stays as it was: {failure['sentence']}")
        from exp_platform.airflow.read import project_of
        from exp_platform.memo.blocked import write_blocked_memo

        self.experiment_id = run["experiment_id"]
        dt = date.fromisoformat(run["dt"])
        write_blocked_memo(
            project_of(run), run["experiment_id"], dt, run["run_id"], failure["stage"], failure["sentence"]
        )
        self.log.info("blocked by %s: %s", failure["stage"], failure["sentence"])

    def _release(self, run: dict[str, Any] | None) -> None:
        """Release the claim on the experiment after the last stage, so that maintenance may work on it."""
        from exp_platform.airflow.read import project_of
        from exp_platform.ledger.claim import release

        if run is None:
            return
        try:
            release(project_of(run), run["experiment_id"], run["run_id"])
        except Exception:  # the claim expires by itself after 12 hours
            self.log.exception("the claim on %s could not be released", run["experiment_id"])
