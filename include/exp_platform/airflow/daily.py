"""The tasks of `daily_experiments`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.external_task import DagStateTrigger
from airflow.sdk import BaseOperator, TriggerRule, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException

from exp_platform.airflow.children import OUTCOME_KEY, TriggerAnalysis
from exp_platform.airflow.failures import refused, task_states
from exp_platform.airflow.jobs import FAILURE_KEY
from exp_platform.airflow.landing import RawReady
from exp_platform.airflow.morning import NOTE_KEY, morning_of
from exp_platform.airflow.schedule import day_of_firing, is_due
from exp_platform.errors import wrapped

if TYPE_CHECKING:
    from airflow.sdk import Context

_NAME = "{{ task.experiment['experiment_id'] }}"


def due_experiments(config: str, firing: datetime) -> list[dict[str, Any]]:
    """The conf of the run of each experiment that is due on the day before the firing instant."""
    from exp_platform.config.load import load_project

    project = load_project(config)
    dt = day_of_firing(firing)
    due = [e for e in project.experiments.values() if is_due(e, project.metrics_of(e), dt)]
    return [
        {
            "experiment_id": experiment.experiment_id,
            "dt": dt.isoformat(),
            "config": str(project.path),
            "timeout_hours": project.profile.landing.timeout_hours,
        }
        for experiment in sorted(due, key=lambda e: e.experiment_id)
    ]


def firing_of(context: Context) -> datetime:
    """The instant of the schedule; not the logical date, which is a day earlier where Airflow uses data intervals."""
    run = context["dag_run"]
    return run.data_interval_end or run.logical_date or run.run_after


class EarlierDaysFirst(BaseOperator):
    """Wait, without holding a worker, until no run of an earlier day is running.

    A backfill starts many days at once, whatever max_active_runs is. Two days of one experiment must not run at the
    same time, because the newer run would take the experiment over from the older one.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(retries=2, **kwargs)

    def execute(self, context: Context, event: Any = None) -> None:
        """Check for an earlier run; Airflow calls this again each time that one has ended."""
        earlier = context["ti"].get_previous_dagrun(state="running")
        if earlier is None:
            return
        self.log.info("waiting for the earlier run %s", earlier.run_id)
        ended: Any = ["success", "failed"]
        trigger = DagStateTrigger(self.dag_id, states=ended, run_ids=[earlier.run_id], poll_interval=10)
        self.defer(trigger=trigger, method_name="execute")


@task(retries=2)
def find_due() -> list[dict[str, Any]]:
    """Decide the day of this run, and the experiments that are due on it."""
    from exp_platform.errors import ExpError

    context = get_current_context()
    firing = firing_of(context)
    try:
        found = due_experiments(context["params"]["config"], firing)
    except ExpError as error:
        raise refused(error) from None
    names = [experiment["experiment_id"] for experiment in found]
    print(f"dt {day_of_firing(firing)}: {len(names)} due: {', '.join(names) or 'none'}")
    return found


@task(retries=2)
def refused_configs() -> None:
    """Fail when a file of configuration is refused, so that somebody mends it; other experiments run all the same."""
    from exp_platform.airflow.alerting import alert_problem, alert_unreadable_profile
    from exp_platform.alerts.model import config_alert
    from exp_platform.config.load import load_project
    from exp_platform.errors import ConfigError, cause_first

    context = get_current_context()
    ti, dt = context["ti"], day_of_firing(firing_of(context))
    try:
        project = load_project(context["params"]["config"])
    except ConfigError as error:
        alert_unreadable_profile(dt, str(error))
        ti.xcom_push(FAILURE_KEY, {"sentences": [cause_first(str(error))]})
        raise refused(error) from None
    for experiment_id, why in sorted(project.broken.items()):
        alert_problem(context, project, config_alert(experiment_id, dt, "registry", why))
    if refusals := [cause_first(text) for text in project.refusals()]:
        ti.xcom_push(FAILURE_KEY, {"sentences": refusals})
        raise AirflowFailException(wrapped("\n".join(f"configuration refused: {text}" for text in refusals)))
    print("every metric, policy and experiment can be read")


@task_group
def analyse_experiment(experiment: Any) -> None:
    """One experiment: wait for its raw data, then run its analysis."""
    ready = RawReady(task_id="raw_ready", experiment=experiment, map_index_template=_NAME, retries=2)
    analyse = TriggerAnalysis(task_id="analyse", experiment=experiment, map_index_template=_NAME)
    ready >> analyse


@task(retries=2, trigger_rule=TriggerRule.ALL_DONE)
def morning() -> None:
    """Sum the morning up in the run's note and one message on the healthy; red when more than the known is red."""
    from exp_platform.airflow.alerting import send_digest

    context = get_current_context()
    ti, dt = context["ti"], day_of_firing(firing_of(context)).isoformat()
    found = morning_of(
        dt,
        ti.xcom_pull(task_ids="find_due"),
        _all(ti.xcom_pull(task_ids="analyse_experiment.analyse", key=OUTCOME_KEY)),
        _all(ti.xcom_pull(task_ids="analyse_experiment.raw_ready", key=FAILURE_KEY)),
        ti.xcom_pull(task_ids="refused_configs", key=FAILURE_KEY),
    )
    print(found.note())
    ti.xcom_push(NOTE_KEY, found.note())
    if context["dag_run"].run_type != "backfill":  # yesterday's news of ten days ago is no morning's message
        send_digest(context, found)
    states = task_states(context)
    if any(state in ("failed", "upstream_failed") for name, state in states.items() if name != ti.task_id):
        raise AirflowFailException(wrapped(found.error()))


def _all(pulled: Any) -> list[Any]:
    """The values that a mapped group has left in XCom; Airflow hands a single one over without a list."""
    values = pulled if isinstance(pulled, list) else [pulled]
    return [value for value in values if value]


@task(retries=2)
def retry_alerts() -> None:
    """Send the alerts that are pending or lost."""
    from exp_platform.airflow.alerting import send_waiting

    send_waiting(get_current_context())
