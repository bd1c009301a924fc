"""
# after_checkout_button

An example: a DAG that waits for an experiment to pass. Copy it into your own DAG folder and name your experiment.

It runs when `experiment_analysis` adds the asset `experiment_passed/exp_checkout_button_001`: the result is trusted and
no guardrail failed. The event says which day, which run and which decision: act on the decision, not on the event, and
only on a recent day, since a backfill announces its older days too.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from airflow.sdk import DAG, Asset, get_current_context, task

PASSED = Asset("experiment_passed/exp_checkout_button_001")
RECENT = timedelta(days=2)

with DAG(dag_id="after_checkout_button", schedule=[PASSED], catchup=False, doc_md=__doc__, tags=["example"]):

    @task
    def roll_out() -> None:
        """Only `ship` means ship; `keep_running` also passes."""
        event = get_current_context()["triggering_asset_events"][PASSED][-1]
        if date.fromisoformat(event.extra["dt"]) < datetime.now(UTC).date() - RECENT:
            print(f"an older day, {event.extra['dt']}: nothing to do")
        elif event.extra["decision"] == "ship":
            print(f"as of {event.extra['dt']} (run {event.extra['run_id']}): roll it out")
        else:
            print(f"decision {event.extra['decision']}: nothing to do")

    roll_out()
