"""The lines on top of the index: how many experiments stand where, and how many of them taught something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date

from exp_platform.memo import names
from exp_platform.memo.index.entry import Entry
from exp_platform.memo.index.outcome import ANSWERED, DECIDED, NAMES, Outcome

# The order in which a sentence names them: answers, then open ones, then what needs a person.
TOLD = (
    *(Outcome.SHIP, Outcome.LOSS, Outcome.NEUTRAL, Outcome.UNDECIDED, Outcome.RUNNING),
    *(Outcome.BLOCKED, Outcome.INVALID, Outcome.NONE, Outcome.REFUSED, Outcome.UNREADABLE),
)


def counts_line(entries: Sequence[Entry]) -> str:
    """The experiments by outcome: `38 experiments: 9 ship, 12 neutral with power, 11 running, 3 blocked (…)`."""
    if not entries:
        return "No experiment yet"
    count = Counter(Outcome(entry.outcome) for entry in entries)
    parts = []
    for outcome in TOLD:
        if count[outcome]:
            _, one, several = NAMES[outcome]
            since = _oldest(entries) if outcome is Outcome.BLOCKED else ""
            parts.append(f"{count[outcome]} {one if count[outcome] == 1 else several}{since}")
    return f"{_number(len(entries), 'experiment')}: {', '.join(parts)}"


def learning_line(entries: Sequence[Entry], today: date) -> str:
    """The rate of learning: answers among those with a memo, how they ended, valid ones, days that blocks have cost."""
    count = Counter(Outcome(entry.outcome) for entry in entries)
    judged = sum(count[outcome] for outcome in (*ANSWERED, Outcome.INVALID))
    if not judged:
        return "Nothing is decided yet"
    decided, valid = sum(count[o] for o in DECIDED), sum(count[o] for o in ANSWERED)
    ways = ", ".join(
        (
            _number(count[Outcome.SHIP], "win"),
            _number(count[Outcome.LOSS], "loss", "losses"),
            f"{count[Outcome.NEUTRAL]} neutral with power",
        )
    )
    blocked = sum(blocked_days(entry, today) for entry in entries)
    lost = f"; {_number(blocked, 'day')} lost so far to what is blocked now" if blocked else ""
    ended = f"{decided} of {judged} answers decided ({decided / judged:.0%}): {ways}"
    return f"{ended}; {valid} of {judged} valid{lost}"


def blocked_days(entry: Entry, today: date) -> int:
    """Days without a new number since an experiment is blocked, the first one included; 0 for others."""
    if entry.blocked_since is None:
        return 0
    return max(0, (today - date.fromisoformat(entry.blocked_since)).days + 1)


def _oldest(entries: Sequence[Entry]) -> str:
    since = min(entry.blocked_since for entry in entries if entry.blocked_since)
    return f" (oldest since {names.day(since)})"


def _number(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
