"""The smallest change of each input that would change the decision: of the effect, its precision, each guardrail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.memo.effect_words import decimals, has_answer
from exp_platform.memo.figures import Unit, times
from exp_platform.memo.harm import unit_of
from exp_platform.memo.published import Source
from exp_platform.status import GuardrailStatus

Row = Mapping[str, Any]
OUT_OF_REACH = 10_000  # times the users, beyond which no number of users is named


def flips(source: Source) -> tuple[str, ...]:
    """One sentence for each input, arm by arm; none where the numbers may not be read as effects."""
    found = []
    for arm in source.facts["answer"]["arms"]:
        row, lead = arm["primary"], f"{arm['arm']}: " if source.several_arms else ""
        if row is None or not row["is_judged"] or not has_answer(row):
            continue
        found.append(lead + of_the_effect(row))
        mine = [g for g in source.facts["guardrails"] if g["arm"] == arm["arm"] and g["is_judged"]]
        found += [lead + sentence for g in mine if (sentence := of_a_guardrail(g))]
    return tuple(found)


def of_the_effect(row: Row) -> str:
    """How far a clear effect is from not being clear, or an unclear one from being clear."""
    unit, digits = Unit.of(row), decimals(row)
    low, high, effect = row["low"], row["high"], row["effect"]
    if low > 0 or high < 0:
        room = unit.change(min(abs(low), abs(high)), digits, sign=False)
        return f"{row['title']} is clear: it would not be if its effect were {room} nearer to zero."
    gap = -low if effect >= 0 else high
    more = unit.change(gap, digits, sign=False)
    text = f"{row['title']} is not clear: it would be if its effect were {more} farther from zero"
    half = (high - low) / 2
    users = (half / effect) ** 2 if effect else OUT_OF_REACH
    if users < OUT_OF_REACH:
        text += f", or, should it stay, with {times(max(users, 1.0))} the users"
    return f"{text}."


def of_a_guardrail(row: Row) -> str:
    """How far a guardrail is from another verdict; empty where it has no answer."""
    if row["harm"] is None or row["bound"] is None:
        return ""
    unit, margin = unit_of(row), row["margin"]
    digits = unit.decimals(row["bound"] - row["harm"])

    def size(value: float) -> str:
        return unit.change(abs(value), digits, sign=False)

    if row["status"] == GuardrailStatus.PASS.value:
        return f"{row['title']} is held: it would not be shown with {size(margin - row['bound'])} more harm."
    if row["status"] == GuardrailStatus.FAIL.value:
        return f"{row['title']} is broken: it would not be with {size(row['harm'] - margin)} less harm."
    if row["bound"] < margin:
        return ""  # held back by its trends, which no size changes
    return f"{row['title']} is not shown to be safe: it would be with {size(row['bound'] - margin)} less harm."
