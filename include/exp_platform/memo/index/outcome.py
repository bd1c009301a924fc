"""Outcome of an experiment: the group in which the index counts, filters and orders it; each is in exactly one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from exp_platform.status import Decision, Trust


class Outcome(StrEnum):
    """Groups in the order of the page: first those that wait for somebody."""

    BLOCKED = "blocked"
    REFUSED = "refused"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    SHIP = "ship"
    LOSS = "loss"
    UNDECIDED = "undecided"
    NEUTRAL = "neutral"
    RUNNING = "running"
    NONE = "none"


# Outcome -> its name in the filter, and in the line on top for one experiment and for several.
NAMES: dict[Outcome, tuple[str, str, str]] = {
    Outcome.SHIP: ("Win: ship", "ships", "ship"),
    Outcome.LOSS: ("Loss: stop or do not ship", "loss", "losses"),
    Outcome.NEUTRAL: ("Neutral with power", "neutral with power", "neutral with power"),
    Outcome.UNDECIDED: ("Undecided at the end", "undecided at the end", "undecided at the end"),
    Outcome.RUNNING: ("Running", "running", "running"),
    Outcome.BLOCKED: ("Blocked", "blocked", "blocked"),
    Outcome.INVALID: ("Invalid", "invalid", "invalid"),
    Outcome.NONE: ("No memo yet", "without a memo", "without a memo"),
    Outcome.REFUSED: ("File refused", "refused", "refused"),
    Outcome.UNREADABLE: ("Memo cannot be read", "that cannot be read", "that cannot be read"),
}
DECIDED = (Outcome.SHIP, Outcome.LOSS, Outcome.NEUTRAL)
ANSWERED = (*DECIDED, Outcome.UNDECIDED, Outcome.RUNNING)  # a run finished, and its numbers may be used
ORDER = {outcome: position for position, outcome in enumerate(Outcome)}


def outcome_of(facts: Mapping[str, Any]) -> Outcome:
    """The outcome by a memo's facts."""
    answer = facts["answer"]
    if facts.get("blocked"):
        return Outcome.BLOCKED
    if answer is None:
        return Outcome.NONE
    decision = answer["decision"]
    if answer["trust"] == Trust.NOT_TRUSTED.value or decision == Decision.INVALID.value:
        return Outcome.INVALID
    if decision == Decision.SHIP.value:
        return Outcome.SHIP
    if decision == Decision.STOP.value:
        return Outcome.LOSS
    if decision == Decision.DO_NOT_SHIP.value:
        return Outcome.NEUTRAL if _all_flat(answer["arms"]) else Outcome.LOSS
    ended = (facts.get("plan") or {}).get("planned_end_reached", False)
    return Outcome.UNDECIDED if decision == Decision.INCONCLUSIVE.value or ended else Outcome.RUNNING


def _all_flat(arms: Sequence[Mapping[str, Any]]) -> bool:
    """True where every arm was precise enough to say that there is no difference that matters."""
    return bool(arms) and all("flat" in arm["reasons"] for arm in arms)
