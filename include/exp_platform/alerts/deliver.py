"""Alerts of a run outside Airflow: logged, recorded in ops.alerts, and sent to Slack if $SLACK_WEBHOOK_URL is set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from exp_platform.alerts.book import Delivery, deliver, record, waiting
from exp_platform.alerts.model import Alert, contract_alert, crash_alert, verdict_alerts
from exp_platform.alerts.webhook import webhook
from exp_platform.config.load import Project
from exp_platform.config.models.stream import stream_name
from exp_platform.errors import ContractViolation
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.store_path import page_folder
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import EXPOSURE_QUALITY_DAILY, GUARDRAIL_STATUS, STATISTICAL_VALIDATION
from exp_platform.ledger import manifest

WEBHOOK = "SLACK_WEBHOOK_URL"


def alert_after_run(
    project: Project,
    experiment_id: str,
    dt: date,
    run_id: str,
    *,
    error: BaseException | None = None,
    log: Callable[[str], None] = print,
    now: datetime | None = None,
) -> Delivery:
    """Record and send the alerts of a run; a fault while doing so is logged and never fails the run."""
    at = now or datetime.now(UTC)
    try:
        alerts = run_alerts(project, experiment_id, dt, run_id, error)
        return _told(project, experiment_id, alerts, run_id, at, log)
    except Exception as fault:
        log(f"the alerts of run {run_id} could not be recorded or sent: {type(fault).__name__}: {fault}")
        return Delivery()


def alert_blocked_stream(
    project: Project,
    owner_id: str,
    dt: date,
    run_id: str,
    error: BaseException,
    *,
    log: Callable[[str], None] = print,
    now: datetime | None = None,
) -> Delivery:
    """Record and send the one alert of a blocked stream; the experiments that read it send none."""
    try:
        alerts = [contract_alert(owner_id, dt, "ingest_streams", str(error))]
        return _told(project, owner_id, alerts, run_id, now or datetime.now(UTC), log)
    except Exception as fault:
        log(f"the alert of run {run_id} could not be recorded or sent: {type(fault).__name__}: {fault}")
        return Delivery()


def _told(
    project: Project, owner_id: str, alerts: list[Alert], run_id: str, at: datetime, log: Callable[[str], None]
) -> Delivery:
    for alert in alerts:
        log(f"alert: {alert.kind} {alert.subject}: {alert.sentence}")
    record(project, alerts, run_id, at, links_of(project, owner_id))
    url = os.environ.get(WEBHOOK)
    if url:
        return deliver(project, owner_id, webhook(url), at, log)
    left = len(waiting(project, owner_id, at))
    if left:
        log(f"recorded {left} alerts in ops.alerts and sent none: {WEBHOOK} is not set")
    return Delivery(pending=left)


def run_alerts(
    project: Project, experiment_id: str, dt: date, run_id: str, error: BaseException | None = None
) -> list[Alert]:
    """The alerts of one run: those of its verdicts, and that of the error that ended it."""
    tables = (GUARDRAIL_STATUS, STATISTICAL_VALIDATION, EXPOSURE_QUALITY_DAILY)
    guardrails, validation, quality = (rows_of_run(project, experiment_id, dt, run_id, table) for table in tables)
    alerts = verdict_alerts(project.experiment(experiment_id), dt, guardrails, validation, quality)
    if error is not None:
        failed = manifest.failures(project, experiment_id, run_id)
        stage = failed[-1]["stage"] if failed else "run"
        build = contract_alert if isinstance(error, ContractViolation) else crash_alert
        alerts.append(build(experiment_id, dt, stage, str(error)))
    return alerts


def rows_of_run(project: Project, experiment_id: str, dt: date, run_id: str, table: str) -> list[dict[str, Any]]:
    """The rows that this run published in a table, even when another run has published since; empty without any."""
    snapshot_id = manifest.pins_of(manifest.run_rows(project, experiment_id, run_id)).published.get(table)
    if snapshot_id is None:
        return []
    key: dict[str, Any] = {"experiment_id": experiment_id}
    if TABLES[table].has_dt:
        key["dt"] = dt
    rows: list[dict[str, Any]] = read_arrow(load_handle(project, table), TABLES[table], snapshot_id, key).to_pylist()
    return rows


def links_of(project: Project, experiment_id: str) -> Mapping[str, str]:
    """The link to the memo: its page on the Airflow server, or its file without a server."""
    if stream_name(experiment_id) is not None:
        return {}  # a stream has no memo
    base = project.profile.ui_base_url
    if base:
        return {"memo": f"{base.rstrip('/')}/experiments/memos/{experiment_id}.html"}
    return {"memo": str(page_folder(project, project.profile.memo_dir) / f"{experiment_id}.html")}
