"""ops.alerts: every alert is recorded before it is sent, is sent once, and is tried again until it has been sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from exp_platform.alerts.model import Alert
from exp_platform.alerts.slack import slack_payload
from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.tables.names import ALERTS

PENDING, SENT, LOST = "pending", "sent", "lost"
RETRY_DAYS = 7  # an alert that could not be sent for so long is no longer sent

Send = Callable[[Mapping[str, Any]], None]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """The numbers of alerts that one call has sent, failed to send, and left pending."""

    sent: int = 0
    lost: int = 0  # could not be sent; the next run tries again
    pending: int = 0  # recorded only, because no Slack is configured


def record(
    project: Project, alerts: Iterable[Alert], run_id: str, now: datetime, links: Mapping[str, str] | None = None
) -> None:
    """Record alerts as pending; an alert that is recorded already stays as it is."""
    for alert in alerts:
        if _known(project, alert.key):
            continue
        row = alert.key | {
            "state": PENDING,
            "attempts": 0,
            "payload": json.dumps(slack_payload(alert, links), sort_keys=True),
            "last_error": None,
            "run_id": run_id,
            "at": now,
        }
        replace_rows(project, ALERTS, alert.key, [row])


def waiting(project: Project, experiment_id: str, now: datetime) -> list[dict[str, Any]]:
    """Alerts of an experiment that are pending or lost and at most RETRY_DAYS old, oldest first."""
    rows = read_rows(load_handle(project, ALERTS), {"experiment_id": experiment_id, "state": (PENDING, LOST)})
    news = [row for row in rows if row["at"] >= now - timedelta(days=RETRY_DAYS)]
    return sorted(news, key=lambda row: (row["at"], row["kind"], row["subject"]))


def deliver(project: Project, experiment_id: str, send: Send, now: datetime, log: Log = print) -> Outcome:
    """Send the waiting alerts; an error that `send(payload)` raises is recorded and not raised again."""
    sent = lost = 0
    for row in waiting(project, experiment_id, now):
        if not _still_waits(project, row):  # another run may have sent it while this one waited for Slack
            continue
        error = _try(send, json.loads(row["payload"]))
        changed = row | {"attempts": row["attempts"] + 1, "state": LOST if error else SENT, "last_error": error}
        replace_rows(project, ALERTS, _key_of(row), [changed])
        sent, lost = sent + (error is None), lost + (error is not None)
        said = "sent" if error is None else f"not sent, the next run tries again: {error}"
        log(f"alert {row['kind']} {row['subject']} ({row['dt']}): {said}")
    return Outcome(sent=sent, lost=lost)


def _try(send: Send, payload: Mapping[str, Any]) -> str | None:
    try:
        send(payload)
    except Exception as error:  # whatever a sender raises, the run goes on
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
    return None


def _still_waits(project: Project, row: Mapping[str, Any]) -> bool:
    return bool(read_rows(load_handle(project, ALERTS), _key_of(row) | {"state": (PENDING, LOST)}))


def _known(project: Project, key: Mapping[str, Any]) -> bool:
    return bool(read_rows(load_handle(project, ALERTS), dict(key)))


def _key_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("experiment_id", "dt", "kind", "subject", "verdict_hash")}
