"""
# after_checkout_button

An example: a DAG that waits for an experiment to pass. Copy it into your own DAG folder and name your experiment.

It runs when `experiment_analysis` adds the asset `experiment_passed/exp_checkout_button_001`: the result is trusted and
no guardrail failed. The event says which day, which run and which decision: act on the decision, not on the event.
"""

from __future__ import annotations

from airflow.sdk import DAG, Asset, get_current_context, task

PASSED = Asset("experiment_passed/exp_checkout_button_001")

with DAG(dag_id="after_checkout_button", schedule=[PASSED], catchup=False, doc_md=__doc__, tags=["example"]):

    @task
    def roll_out() -> None:
        """Only `ship` means ship; `keep_running` also passes."""
        event = get_current_context()["triggering_asset_events"][PASSED][-1]
        if event.extra["decision"] == "ship":
            print(f"as of {event.extra['dt']} (run {event.extra['run_id']}): roll it out")
        else:
            print(f"decision {event.extra['decision']}: nothing to do")

    roll_out()
