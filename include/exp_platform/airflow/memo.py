"""The operator of the memo: it runs the stage `write_memo` or, for a blocked run, puts a banner on the last memo."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from exp_platform.airflow.failures import dead_stages, first_failure
from exp_platform.airflow.operator import StageOperator
from exp_platform.airflow.outcomes import ANSWER_KEY
from exp_platform.errors import ContractViolation, wrapped

if TYPE_CHECKING:
    from airflow.sdk import Context


class MemoOperator(StageOperator):
    """Writes the memo after all other stages are done, also after failed ones."""

    def __init__(self, *, upstream_stages: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.upstream_stages = upstream_stages

    def execute(self, context: Context) -> None:
        """Run the stage when all others succeeded; else fail, after the banner was written when one was blocked.

        A failed task is cleared together with the stage that made it fail, so that the memo follows the mend. One
        that was skipped, or had succeeded in writing the banner, would stay as it is, and the banner too.
        """
        run = context["ti"].xcom_pull(task_ids="resolve_run")
        try:
            self._write(context, run)
        finally:
            self._release(run)

    def _write(self, context: Context, run: dict[str, Any] | None) -> None:
        if run is None:
            raise AirflowFailException("the memo stays as it was: the run could not be resolved")
        self.experiment_id, self.memo_dt = run["experiment_id"], run["dt"]
        failure = first_failure(context, self.upstream_stages)
        if failure is None and (dead := dead_stages(context, self.upstream_stages)):
            # The memo of this run would show numbers of an earlier run.
            raise AirflowFailException(f"the memo stays as it was: {dead[0]} ended without a word, see its log")
        if failure is None:
            super().execute(context)
            self._tell_answer(context, run)
            return
        said = f"{failure['stage']}: {failure['sentence']}"
        if failure["exit_code"] != ContractViolation.exit_code:
            raise AirflowFailException(wrapped(f"the memo stays as it was, because {said}"))
        self.memo_dt = None  # the banner is on the latest memo
        self._write_banner(run, failure)
        raise AirflowFailException(wrapped(f"blocked, as the memo says above its last numbers, because {said}"))

    def _write_banner(self, run: dict[str, Any], failure: dict[str, Any]) -> None:
        from exp_platform.airflow.lake_reads import project_of
        from exp_platform.memo.blocked import write_blocked_memo
        from exp_platform.quality.docs import refresh_docs_of

        dt, stage = date.fromisoformat(run["dt"]), failure["stage"]
        write_blocked_memo(project_of(run), run["experiment_id"], dt, run["run_id"], stage, failure["sentence"])
        try:
            refresh_docs_of(project_of(run), run["experiment_id"])
        except Exception:  # the banner is what matters
            self.log.exception("the page of data docs could not be written")

    def _tell_answer(self, context: Context, run: dict[str, Any]) -> None:
        """Leave decision and trust in XCom, for the run's note and for the daily run that waits for this one."""
        from exp_platform.airflow.lake_reads import verdict_rows
        from exp_platform.lake.tables.names import DECISION
        from exp_platform.memo.wording import DECISIONS, TRUSTS, labels

        try:
            row = next(row for row in verdict_rows(run, DECISION) if row["variant_id"] == "all")
        except Exception:  # the memo is written all the same
            self.log.exception("the decision could not be read for the run's note")
            return
        answer = {"decision": labels(DECISIONS, row["decision"]), "trust": labels(TRUSTS, row["trust"])}
        context["ti"].xcom_push(ANSWER_KEY, answer)

    def _release(self, run: dict[str, Any] | None) -> None:
        """Release the claim on the experiment after the last stage, so that maintenance may work on it."""
        from exp_platform.airflow.lake_reads import project_of
        from exp_platform.ledger.claim import release

        if run is None:
            return
        try:
            release(project_of(run), run["experiment_id"], run["run_id"])
        except Exception:  # the claim expires by itself after 12 hours
            self.log.exception("the claim on %s could not be released", run["experiment_id"])
