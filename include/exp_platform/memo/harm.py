"""A guardrail in words and as a picture: its change in the metric's own direction, against what was allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Interval, Mark
from exp_platform.memo.effect_words import sides_of, threshold_text
from exp_platform.memo.figures import Unit
from exp_platform.results.analysis import NOT_TESTED
from exp_platform.status import GuardrailStatus

Row = Mapping[str, Any]
TONES = {GuardrailStatus.PASS.value: "better", GuardrailStatus.FAIL.value: "worse"}
VERDICTS = {
    GuardrailStatus.PASS.value: "held",
    GuardrailStatus.FAIL.value: "broken",
    GuardrailStatus.INCONCLUSIVE.value: "not shown yet",
}


def unit_of(row: Row) -> Unit:
    """The unit of a guardrail's change, on the scale of its margin."""
    return Unit(row["format"], row["unit"] or "", row["margin_kind"] == "relative")


def change_of(row: Row) -> tuple[float, float, float] | None:
    """Change, lower and upper end in the metric's own direction: harm is turned where a fall is the harm."""
    if None in (row["harm"], row["harm_low"], row["bound"]):
        return None
    if row["direction"] == "decrease":
        return row["harm"], row["harm_low"], row["bound"]
    return -row["harm"], -row["bound"], -row["harm_low"]


def allowed_of(row: Row) -> float:
    """The change that is just allowed, with its sign."""
    return float(row["margin"] if row["direction"] == "decrease" else -row["margin"])


def harm_sentence(row: Row) -> str:
    """A guardrail as a sentence: which way it moved, by how much, and what was allowed."""
    found = change_of(row)
    if found is None:
        return f"{row['title']}: no answer. {words.sentences(row['reason'])}".strip()
    change, low, high = found
    unit = unit_of(row)
    digits = unit.decimals(high - low)
    span = f"interval {unit.span(low, high, digits)}"
    allowed = threshold_text(row["margin"], unit)
    if not row["is_judged"]:
        return f"{row['title']}: not judged, since the numbers are not valid."
    moved = _moved(row, change, low, high, unit.change(change, digits, sign=False))
    limit = "rise" if row["direction"] == "decrease" else "fall"
    untested = f" {words.sentences(row['reason'])}" if row["reason"] == NOT_TESTED else ""
    return f"{row['title']} {moved} ({span}); a {limit} of {allowed} is allowed.{untested}"


def harm_figures(row: Row) -> str:
    """Change and interval, for a table."""
    found = change_of(row)
    if found is None:
        return "–"
    change, low, high = found
    unit = unit_of(row)
    digits = unit.decimals(high - low)
    return f"{unit.change(change, digits)} ({unit.bare(low, digits)} to {unit.bare(high, digits)})"


def harm_picture(row: Row) -> Interval | None:
    """The guardrail's change against zero and what is allowed."""
    found = change_of(row)
    if found is None:
        return None
    change, low, high = found
    unit = unit_of(row)
    return Interval(
        effect=change,
        low=low,
        high=high,
        unit=unit,
        alt=harm_sentence(row),
        tone=TONES.get(row["status"], "unclear") if row["is_judged"] else "unclear",
        sides=sides_of(row["direction"]) if row["is_judged"] else ("", ""),
        marks=(Mark(allowed_of(row), f"allowed to {threshold_text(allowed_of(row), unit)}"),),
    )


def harm_verdict(row: Row) -> str:
    """The verdict in a word; none where the numbers are not valid."""
    return VERDICTS[row["status"]] if row["is_judged"] else "not judged"


def _moved(row: Row, change: float, low: float, high: float, by: str) -> str:
    """Moved which way; a clear change in the good direction is called an improvement."""
    if not any(digit in "123456789" for digit in by):
        return "did not move"
    way = "rose" if change > 0 else "fell"
    is_harm = (change > 0) is (row["direction"] == "decrease")
    if low > 0 or high < 0:
        return f"{way} by {by}, {'a harm' if is_harm else 'an improvement'}"
    return f"{way} by {by}, which may be chance"
