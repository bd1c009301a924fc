"""Alerts of runs inside Airflow: recorded in ops.alerts first, then sent through the Slack connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import conf

from exp_platform.airflow.failures import dead_stages, first_failure, task_states
from exp_platform.airflow.links import memo_path
from exp_platform.airflow.slack_post import CONNECTION, slack_sender
from exp_platform.config.models.stream import stream_name
from exp_platform.errors import ConfigError, ContractViolation, Superseded
from exp_platform.pipelines.registry import STAGES

if TYPE_CHECKING:
    from airflow.sdk import Context

    from exp_platform.airflow.morning import Morning
    from exp_platform.alerts.model import Alert
    from exp_platform.config.load import Project

_STAGE_NAMES = [stage.name for stage in STAGES]
_GATE_OF = {"guardrail_failed": "guardrail_gate", "srm_failed": "srm_gate", "quality_failed": "quality_gate"}


def alert_run(context: Context) -> None:
    """Record and send all alerts of one run of `experiment_analysis`."""
    from exp_platform.airflow.lake_reads import project_of
    from exp_platform.alerts.deliver import run_alerts

    run = context["ti"].xcom_pull(task_ids="resolve_run")
    if not run:
        _alert_unresolved(context)
        return
    project, dt = project_of(run), date.fromisoformat(run["dt"])
    alerts = run_alerts(project, run["experiment_id"], dt, run["run_id"])
    ended = failure_alert(run, first_failure(context, _STAGE_NAMES), dead_stages(context, _STAGE_NAMES))
    if ended and blocked_by_stream(project, run["experiment_id"], run["run_id"]):
        print(f"no alert: {ended.sentence} (the stream has sent one)")
        ended = None
    tell(project, [*alerts, *([ended] if ended else [])], run, context)


def blocked_by_stream(project: Project, experiment_id: str, run_id: str) -> bool:
    """True when a stream that the experiment reads has stopped the run."""
    from exp_platform.ledger.manifest import failures
    from exp_platform.pipelines.record import BLOCKED_BY_STREAM

    return any(row["status"] == BLOCKED_BY_STREAM for row in failures(project, experiment_id, run_id))


def _alert_unresolved(context: Context) -> None:
    """Alert on a run that another DAG started and whose configuration is refused; a person sees the refusal at once."""
    from exp_platform.alerts.model import config_alert
    from exp_platform.config.load import load_project

    failure = first_failure(context, ["resolve_run"])
    conf_of_run = context["dag_run"].conf or {}
    if failure is None or not conf_of_run.get("dt") or not conf_of_run.get("experiment_id"):
        print("no alert: the run could not be resolved, and the person who started it sees why")
        return
    dt = date.fromisoformat(conf_of_run["dt"])
    alert = config_alert(conf_of_run["experiment_id"], dt, "registry", failure["sentence"])
    project = load_project(context["params"]["config"], only=(conf_of_run["experiment_id"],))
    alert_problem(context, project, alert)


def alert_crashed_run(context: Context) -> None:
    """Send the alerts of a failed run whose task `alert` did not succeed; alerts that were sent are not sent again."""
    if task_states(context).get("alert") != "success":
        alert_run(context)


def alert_problem(context: Context, project: Project, alert: Alert) -> None:
    """Record and send an alert about an experiment for which no run has begun."""
    run = {"experiment_id": alert.experiment_id, "dt": alert.dt.isoformat(), "run_id": context["run_id"]}
    tell(project, [alert], run, context)


def alert_unreadable_profile(dt: date, sentence: str) -> None:
    """Send at once that the profile is refused: without it nobody knows where alerts are recorded."""
    from exp_platform.alerts.history import Streak
    from exp_platform.alerts.model import config_alert
    from exp_platform.alerts.slack import part_of, slack_message

    alert = config_alert("all experiments", dt, "profile", sentence)
    about = {"name": "All experiments", "owner": "see configs/", "decision": "", "trust": "", "changed": "none can run"}
    print(f"{alert.kind} {alert.subject}: {alert.sentence}")
    send = slack_sender()
    if send is None:
        print(f"not sent: there is no connection '{CONNECTION}'")
        return
    try:
        send(slack_message([part_of(alert, {}, about, Streak(dt, 1))]))
    except Exception as error:
        print(f"not sent: {error}")


def send_digest(context: Context, morning: Morning) -> None:
    """Send one message on all experiments that passed this morning; nothing without any, or a second time for a day."""
    from exp_platform.alerts.book import DIGEST, record_digest
    from exp_platform.alerts.slack import digest_message
    from exp_platform.config.load import load_project

    if not morning.healthy:
        print("no message on healthy experiments: there is none")
        return
    project = load_project(context["params"]["config"])
    base = _base_url(project.profile.ui_base_url)
    healthy = [
        {
            "experiment_id": one["experiment_id"],
            "name": project.experiment(one["experiment_id"]).name,
            "decision": one["decision"] or "no decision",
            "trust": one["trust"],
            "memo": base + memo_path(one["experiment_id"], morning.dt),
        }
        for one in morning.healthy
    ]
    message = digest_message(morning.dt, healthy, morning.others + len(morning.refused))
    record_digest(project, date.fromisoformat(morning.dt), message, context["run_id"], datetime.now(UTC))
    _deliver(project, DIGEST)


def send_waiting(context: Context) -> None:
    """Send the alerts that are pending or lost, experiment by experiment."""
    from exp_platform.alerts.book import LOST, PENDING, RETRY_DAYS, waiting
    from exp_platform.config.load import load_project
    from exp_platform.lake.catalog import load_handle
    from exp_platform.lake.ops import read_rows
    from exp_platform.lake.tables.names import ALERTS

    project, now = load_project(context["params"]["config"]), datetime.now(UTC)
    rows = read_rows(load_handle(project, ALERTS), {"state": (PENDING, LOST)})
    news = {name: len(waiting(project, name, now)) for name in sorted({row["experiment_id"] for row in rows})}
    for experiment_id in (name for name, count in news.items() if count):
        _deliver(project, experiment_id)
    if not any(news.values()):
        print("no alert is waiting")
    if old := len(rows) - sum(news.values()):
        print(f"{old} alerts were never sent and are older than {RETRY_DAYS} days: see ops.alerts")


def failure_alert(run: Mapping[str, Any], failure: Mapping[str, Any] | None, dead: list[str]) -> Alert | None:
    """The alert for the failure that ended a run; None when a newer run took over."""
    from exp_platform.alerts.model import config_alert, contract_alert, crash_alert

    experiment_id, dt = run["experiment_id"], date.fromisoformat(run["dt"])
    if failure is None:
        return crash_alert(experiment_id, dt, dead[0], "the task ended without a word: see its log") if dead else None
    if failure["exit_code"] == Superseded.exit_code:
        return None
    builders = {ContractViolation.exit_code: contract_alert, ConfigError.exit_code: config_alert}
    build = builders.get(failure["exit_code"], crash_alert)
    return build(experiment_id, dt, failure["stage"], failure["sentence"])


def links_of(
    context: Context, experiment_id: str, subject: str, kind: str, base_url: str | None = None, dt: str | None = None
) -> dict[str, str]:
    """Links to the log of the task behind an alert, the run and the memo; `base_url` is the address that people use."""
    base = _base_url(base_url)
    ti = context["ti"]
    run = f"{base}/dags/{quote(ti.dag_id)}/runs/{quote(ti.run_id, safe='')}"
    task_id = _GATE_OF.get(kind) or (subject if subject in _STAGE_NAMES else ti.task_id)
    links = {"log": f"{run}/tasks/{quote(task_id)}", "run": run}
    return links | ({} if stream_name(experiment_id) else {"memo": base + memo_path(experiment_id, dt)})


def _base_url(given: str | None) -> str:
    """The address of the UI that people use: the profile's, else Airflow's own setting."""
    return (given or conf.get("api", "base_url", fallback="") or "http://localhost:8080").rstrip("/")


def tell(project: Project, alerts: list[Alert], run: Mapping[str, Any], context: Context) -> None:
    """Record alerts of one experiment or stream, then send all of its alerts that wait."""
    from exp_platform.alerts.book import record

    now = datetime.now(UTC)
    for alert in alerts:
        print(f"{alert.kind} {alert.subject}: {alert.sentence}")
        # A verdict is in the memo of its dt. A blocked or crashed run has none, and the latest memo says why.
        memo_dt = alert.dt.isoformat() if alert.kind in _GATE_OF else None
        base_url = project.profile.ui_base_url
        links = links_of(context, alert.experiment_id, alert.subject, alert.kind, base_url, memo_dt)
        record(project, [alert], run["run_id"], now, links)
    _deliver(project, run["experiment_id"])


def _deliver(project: Project, experiment_id: str) -> None:
    from exp_platform.alerts.book import deliver, waiting

    now = datetime.now(UTC)
    left = len(waiting(project, experiment_id, now))
    if not left:
        said = "no alert to send"
    elif (send := slack_sender()) is not None:
        outcome = deliver(project, experiment_id, send, now)
        said = f"{outcome.sent} sent, {outcome.lost} lost"
    else:
        said = f"{left} alerts wait in ops.alerts: there is no connection '{CONNECTION}'"
    print(f"{experiment_id}: {said}")
