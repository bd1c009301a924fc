"""The facts about an experiment in a message: its name and owner, its decision, and what has changed."""

from __future__ import annotations

from datetime import date

from exp_platform.alerts.history import History
from exp_platform.config.load import Project
from exp_platform.memo.wording import DECISIONS, TRUSTS, labels


def about(project: Project, experiment_id: str, dt: date, history: History) -> dict[str, str]:
    """Name, owner, decision, trust and change of an experiment as of one day, as they are shown."""
    known = project.experiments.get(experiment_id)
    now = history.decisions.get(dt)
    return {
        "name": known.name if known else experiment_id,
        "owner": known.owner if known else "unknown: its file cannot be read",
        "decision": labels(DECISIONS, now[0]) if now else "",
        "trust": labels(TRUSTS, now[1]) if now else "",
        "changed": _changed(history, dt, now),
    }


def _changed(history: History, dt: date, now: tuple[str, str] | None) -> str:
    """The decision of this day against that of the last analysed day before."""
    day = history.day_before(dt)
    before = history.decisions.get(day) if day else None
    if before is None:
        return "first day that was analysed" if now else "no day has been analysed yet"
    was = f"{labels(DECISIONS, before[0])} ({labels(TRUSTS, before[1]).lower()})"
    if now is None:
        return f"no new numbers; the last are as of {day}: {was}"
    if now == before:
        return f"decision and trust are as on {day}"
    return f"was {was} on {day}, is {labels(DECISIONS, now[0])} ({labels(TRUSTS, now[1]).lower()})"
