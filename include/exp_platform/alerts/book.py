"""ops.alerts: every alert is recorded before it is sent, is sent once, and is tried again until it has been sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from exp_platform.alerts.about import about
from exp_platform.alerts.history import history_of
from exp_platform.alerts.model import Alert
from exp_platform.alerts.slack import part_of, slack_message
from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.tables.names import ALERTS

PENDING, SENT, LOST = "pending", "sent", "lost"
DIGEST = "digest"
RETRY_DAYS = 7  # an alert that could not be sent for so long is no longer sent

Send = Callable[[Mapping[str, Any]], None]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Delivery:
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
        history = history_of(project, alert.experiment_id)
        told = about(project, alert.experiment_id, alert.dt, history)
        part = part_of(alert, links or {}, told, history.streak(alert.kind, alert.dt))
        _write(project, alert.key, part, run_id, now)


def told_of(project: Project, owner_id: str, dt: date) -> bool:
    """True when an alert about an experiment or a stream was recorded for that day."""
    return _known(project, {"experiment_id": owner_id, "dt": dt})


def record_digest(project: Project, dt: date, message: Mapping[str, Any], run_id: str, now: datetime) -> None:
    """Record the message on the healthy experiments of a day as pending, unless one is recorded for that day."""
    key = {"experiment_id": DIGEST, "dt": dt, "kind": DIGEST, "subject": "healthy", "verdict_hash": DIGEST}
    if not _known(project, key):
        _write(project, key, message, run_id, now)


def _write(project: Project, key: Mapping[str, Any], content: Mapping[str, Any], run_id: str, now: datetime) -> None:
    row = dict(key) | {
        "state": PENDING,
        "attempts": 0,
        "payload": json.dumps(content, sort_keys=True),
        "last_error": None,
        "run_id": run_id,
        "at": now,
    }
    replace_rows(project, ALERTS, dict(key), [row])


def waiting(project: Project, experiment_id: str, now: datetime) -> list[dict[str, Any]]:
    """Alerts of an experiment that are pending or lost and at most RETRY_DAYS old, oldest first."""
    rows = read_rows(load_handle(project, ALERTS), {"experiment_id": experiment_id, "state": (PENDING, LOST)})
    news = [row for row in rows if row["at"] >= now - timedelta(days=RETRY_DAYS)]
    return sorted(news, key=lambda row: (row["at"], row["kind"], row["subject"]))


def deliver(project: Project, experiment_id: str, send: Send, now: datetime, log: Log = print) -> Delivery:
    """Send the waiting alerts, those of one day in one message; an error of `send(payload)` is recorded, not raised."""
    sent = lost = 0
    rows = waiting(project, experiment_id, now)
    for dt in dict.fromkeys(row["dt"] for row in rows):
        # Another run may have sent some while this one waited for Slack.
        together = [row for row in rows if row["dt"] == dt and _still_waits(project, row)]
        for message, group in _messages(together):
            error = _try(send, message)
            for row in group:
                changed = row | {"attempts": row["attempts"] + 1, "state": LOST if error else SENT, "last_error": error}
                replace_rows(project, ALERTS, _key_of(row), [changed])
                said = "sent" if error is None else f"not sent, the next run tries again: {error}"
                log(f"alert {row['kind']} {row['subject']} ({row['dt']}): {said}")
            sent, lost = sent + len(group) * (error is None), lost + len(group) * (error is not None)
    return Delivery(sent=sent, lost=lost)


def _messages(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The messages of one experiment and day with their rows: one of all its alerts; a digest is one by itself."""
    payloads = [(json.loads(row["payload"]), row) for row in rows]
    for whole, row in payloads:
        if "blocks" in whole:
            yield whole, [row]
    parts = [(part, row) for part, row in payloads if "blocks" not in part]
    if parts:
        yield slack_message([part for part, _ in parts]), [row for _, row in parts]


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
