"""The tasks of the DAG `canary`: find the experiments with a decision, and check each one's numbers."""

from __future__ import annotations

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException


@task(retries=2)
def find_published() -> list[str]:
    """List the experiments with a decision that are not concluded: their numbers still change."""
    from exp_platform.config.load import load_project
    from exp_platform.errors import ExpError
    from exp_platform.second_opinion.check import published_experiments

    try:
        project = load_project(get_current_context()["params"]["config"])
        found = published_experiments(project, concluded=False)
    except ExpError as error:
        raise AirflowFailException(str(error)) from None
    print(f"{len(found)} experiments: {', '.join(found) or 'none'}")
    return found


@task(retries=2)
def shorten_histories() -> None:
    """Drop yesterday's snapshots of the platform's own books, because each one makes every commit slower."""
    from datetime import UTC, datetime

    from exp_platform.config.load import load_project
    from exp_platform.operations.histories import shorten

    dropped = shorten(load_project(get_current_context()["params"]["config"]), datetime.now(UTC))
    print(f"dropped {dropped:,} snapshots")


# One at a time on each worker set: a check may take some gigabytes.
@task(retries=1, max_active_tis_per_dag=1, map_index_template="{{ task.op_kwargs['experiment_id'] }}")
def check_numbers(experiment_id: str) -> None:
    """Check one experiment, send the alert about a difference, and fail then: a difference is never a retry."""
    from exp_platform.airflow.alerting import tell
    from exp_platform.config.load import load_project
    from exp_platform.errors import ExpError
    from exp_platform.second_opinion.check import alert_of, check_experiment

    context = get_current_context()
    try:
        project = load_project(context["params"]["config"], only=(experiment_id,))
        checked = check_experiment(project, experiment_id)
    except ExpError as error:
        raise AirflowFailException(str(error)) from None
    if checked.opinion.differ:
        run = {"experiment_id": experiment_id, "run_id": checked.opinion.run_id}
        tell(project, [alert_of(checked)], run, context)
        raise AirflowFailException(f"{experiment_id}: {checked.opinion.sentence}; {checked.opinion.detail}")
