"""An alert as a Slack message: Block Kit, with a plain text for notifications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.alerts.model import Alert, Kind

TITLES = {
    Kind.GUARDRAIL_FAILED: "Guardrail failed",
    Kind.SRM_FAILED: "Sample ratio mismatch",
    Kind.QUALITY_FAILED: "Data quality failed",
    Kind.CONTRACT_BROKEN: "Contract broken: nothing new is published",
    Kind.RUN_CRASHED: "Run crashed",
}
FIELDS = 10  # Slack's limit of fields in one section
LENGTH = 2000  # Slack's limit of characters in one field


def slack_payload(alert: Alert, links: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The message; `links` maps a word (log, run, memo) to a URL, or to a file without a server."""
    title = TITLES[alert.kind]
    fields = {"experiment": alert.experiment_id, "dt": alert.dt.isoformat(), **alert.facts}
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        {"type": "section", "text": _markdown(escape(_upper(alert.sentence)))},
        {
            "type": "section",
            "fields": [_markdown(f"*{escape(k)}*\n{escape(v)}") for k, v in list(fields.items())[:FIELDS]],
        },
    ]
    shown = [_link(word, target) for word, target in (links or {}).items() if target]
    if shown:
        blocks.append({"type": "context", "elements": [_markdown(" · ".join(shown))]})
    return {"text": f"{title}: {alert.experiment_id}, {alert.dt}: {alert.sentence}", "blocks": blocks}


def escape(text: str) -> str:
    """Escape Slack's three control characters, so that data can't become a mention or a link."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(word: str, target: str) -> str:
    if target.startswith(("http://", "https://")):
        return f"<{target.replace('|', '%7C').replace('>', '%3E')}|{escape(word)}>"
    return f"{escape(word)}: `{escape(target)}`"


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text if len(text) <= LENGTH else f"{text[: LENGTH - 1]}…"}


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
