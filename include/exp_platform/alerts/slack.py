"""Messages for Slack in Block Kit: one per experiment and morning, and one on all healthy experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.alerts.history import Streak
from exp_platform.alerts.model import Alert, Kind

TITLES = {  # the gravest first: the first one of a message is its headline, and names its next step
    Kind.CONFIG_REFUSED: "Configuration refused",
    Kind.CONTRACT_BROKEN: "Contract broken: nothing new is published",
    Kind.RUN_CRASHED: "Run crashed",
    Kind.SECOND_OPINION_DIFFERS: "Published numbers can't be confirmed",
    Kind.QUALITY_FAILED: "Data quality failed",
    Kind.SRM_FAILED: "Sample ratio mismatch",
    Kind.GUARDRAIL_FAILED: "Guardrail failed",
}
NEXT_STEPS = {
    Kind.CONFIG_REFUSED: "mend the file, check it with `bin/exp validate`; the next run takes it",
    Kind.CONTRACT_BROKEN: "have the data mended at their source, then clear the red tasks",
    Kind.RUN_CRASHED: "read the log, mend the cause, clear the red tasks",
    Kind.SECOND_OPINION_DIFFERS: "do not use the result; run it again with --full-refresh, then `bin/exp canary ID`",
    Kind.QUALITY_FAILED: "do not use the result; look for the cause in the logging of the days that the memo names",
    Kind.SRM_FAILED: "do not use the result; look for the cause in assignment and in whatever removes users after it",
    Kind.GUARDRAIL_FAILED: "the owner stops the experiment or decides otherwise",
}
FIELDS = 10  # Slack's limit of fields in one section
LENGTH = 2000  # Slack's limit of characters in one field
HEADER = 150  # Slack's limit of characters in a header
SHOWN = 15  # problems, or healthy experiments by the dozen, in one message: Slack's limit is 50 blocks

Part = Mapping[str, Any]


def part_of(alert: Alert, links: Mapping[str, str], about: Mapping[str, str], streak: Streak) -> dict[str, Any]:
    """All that a message says of one alert, as plain values; `links` maps a word (log, memo) to a URL or a file."""
    return {
        "experiment_id": alert.experiment_id,
        "dt": alert.dt.isoformat(),
        "kind": alert.kind.value,
        "sentence": alert.sentence,
        "facts": alert.facts,
        "since": "" if streak.is_new else streak.words,
        "about": dict(about),
        "links": dict(links),
    }


def slack_message(parts: Sequence[Part]) -> dict[str, Any]:
    """The one message on an experiment and a morning: headline, owner, problems, what changed, next step, links."""
    order = list(TITLES)
    parts = sorted(parts, key=lambda part: order.index(Kind(part["kind"])))
    first, about = parts[0], parts[0]["about"]
    title, where = f"{about['name']}: {_headline(first)}", f"{first['experiment_id']}, {first['dt']}"
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, HEADER), "emoji": False}},
        _section(f"`{escape(first['experiment_id'])}` as of {first['dt']}, owner {escape(about['owner'])}"),
        *(block for part in parts[:SHOWN] for block in _problem(part)),
    ]
    if len(parts) > SHOWN:
        blocks.append(_section(f"and {len(parts) - SHOWN} more: see the memo"))
    blocks += [
        _section(f"*What changed:* {escape(about['changed'])}"),
        _section(f"*Next step:* {escape(NEXT_STEPS[Kind(first['kind'])])}"),
    ]
    links: dict[str, str] = {}
    for part in parts:
        links = dict(part["links"]) | links
    shown = [_link(word, target) for word, target in links.items() if target]
    if shown:
        blocks.append({"type": "context", "elements": [_markdown(" · ".join(shown))]})
    since = f" ({first['since']})" if first["since"] else ""
    # Slack reads markup in this text too: unescaped, a name or a sentence could call a whole channel.
    return {"text": escape(f"{title}: {where}: {first['sentence']}{since}"), "blocks": blocks}


def digest_message(dt: str, healthy: Sequence[Part], others: int) -> dict[str, Any]:
    """The one message on all experiments that passed the morning; the others have messages of their own."""
    number = f"{len(healthy)} of {len(healthy) + others} experiments" if others else f"All {len(healthy)} experiments"
    title = f"{number} are healthy, {dt}" if len(healthy) + others > 1 else f"The experiment is healthy, {dt}"
    lines = [
        f"• {_link(one['name'], one['memo'])} `{escape(one['experiment_id'])}`: {escape(one['decision'])}, "
        f"{escape(one['trust']).lower()}"
        for one in healthy
    ]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, HEADER), "emoji": False}}
    ]
    blocks += [_section("\n".join(lines[at : at + SHOWN])) for at in range(0, min(len(lines), 40 * SHOWN), SHOWN)]
    if others:
        blocks.append(_section(f"{others} need a person: see their own messages"))
    return {"text": title, "blocks": blocks}


def escape(text: str) -> str:
    """Escape Slack's three control characters, so that data can't become a mention or a link."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _headline(part: Part) -> str:
    """The decision where the day has one, else the reason why it has none."""
    about, kind = part["about"], Kind(part["kind"])
    if kind in (Kind.CONFIG_REFUSED, Kind.CONTRACT_BROKEN, Kind.RUN_CRASHED) or not about["decision"]:
        return TITLES[kind][:1].lower() + TITLES[kind][1:]
    return f"{about['decision']}, {about['trust'].lower()}"


def _problem(part: Part) -> list[dict[str, Any]]:
    """One problem: its title, since when it has been there, its sentence as it is, and its figures."""
    since = f", {part['since']}" if part["since"] else ""
    said = _section(f"*{escape(TITLES[Kind(part['kind'])])}*{escape(since)}\n{escape(part['sentence'])}")
    fields = [_markdown(f"*{escape(k)}*\n{escape(v)}") for k, v in list(part["facts"].items())[:FIELDS]]
    return [said, {"type": "section", "fields": fields}] if fields else [said]


def _link(word: str, target: str) -> str:
    if target.startswith(("http://", "https://")):
        return f"<{target.replace('|', '%7C').replace('>', '%3E')}|{escape(word)}>"
    return f"{escape(word)}: `{escape(target)}`" if target else escape(word)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _markdown(text)}


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": _cut(text, LENGTH)}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
