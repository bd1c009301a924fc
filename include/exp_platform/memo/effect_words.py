"""An effect as a sentence, as figures and as a picture: all three on the scale that decides, with the same rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Interval, Mark
from exp_platform.memo.figures import Unit
from exp_platform.status import Method, ResultStatus

Row = Mapping[str, Any]


def has_answer(row: Row) -> bool:
    """True where a result has an effect with both ends of its interval."""
    return row["status"] in (ResultStatus.OK.value, ResultStatus.FAILED_PRETRENDS.value) and None not in (
        row["effect"],
        row["low"],
        row["high"],
    )


def sentence(row: Row) -> str:
    """The effect of one arm with units: moved by how much, from where to where, and the interval."""
    if not has_answer(row):
        why = words.sentences(row["reason"]) or words.sentence(row["status"])
        return f"{row['title']} has no answer yet. {why}"
    unit, digits = Unit.of(row), decimals(row)
    span = f"{level_of_interval(row)} interval {unit.span(row['low'], row['high'], digits)}"
    if not row["is_judged"]:
        seen = unit.change(row["effect"], digits)
        return f"The difference seen in {_inside(row)}, {seen} ({span}), is not an effect: do not use it."
    before, after = levels(row)
    if row["tone"] == "unclear":
        seen = unit.change(row["effect"], digits)
        return f"{row['title']} shows no clear change: {seen}, {before} against {after}; {span}."
    moved = "rose" if row["effect"] > 0 else "fell"
    by = unit.change(row["effect"], digits, sign=False)
    good = "" if row["direction"] == "increase" else f", {meaning(row)}"
    return f"{row['title']} {moved} by {by}{good}, from {before} to {after}; {span}."


def meaning(row: Row) -> str:
    """The word for a clear effect: an improvement or a harm."""
    return "an improvement" if row["tone"] == "better" else "a harm"


def verdict(row: Row) -> str:
    """The verdict on a row in one or two words."""
    if not has_answer(row):
        return "no answer"
    if not row["is_judged"]:
        return "not valid"
    return {"better": "better", "worse": "worse"}.get(row["tone"], "not clear")


def decimals(row: Row) -> int:
    """Decimals of a result's change: those at which its interval shows two digits."""
    if row["low"] is None or row["high"] is None:
        return 2
    return Unit.of(row).decimals(row["high"] - row["low"])


def level_decimals(row: Row) -> int:
    """Decimals of a result's levels, by the width of the absolute interval."""
    low, high = row["abs_low"], row["abs_high"]
    unit = Unit.of(row, "absolute")
    return 2 if low is None or high is None else unit.decimals(high - low)


def levels(row: Row) -> tuple[str, str]:
    """The level without and with the change; of difference in differences the first is what was expected."""
    unit, digits = Unit.of(row), level_decimals(row)
    before = row["control_mean"]
    expected = expected_without(row)
    if expected is not None:
        return (
            f"{unit.level(expected, digits)} expected without the change",
            f"{unit.level(row['treatment_mean'], digits)} seen",
        )
    return unit.level(before, digits), unit.level(row["treatment_mean"], digits)


def expected_without(row: Row) -> float | None:
    """The arm's level had it changed as control did, for difference in differences; else None."""
    if row["method"] != Method.DID.value or None in (row["treatment_mean"], row["effect_abs"]):
        return None
    return float(row["treatment_mean"] - row["effect_abs"])


def figures(row: Row) -> str:
    """Effect and interval, for a table: `+2.5 points (1.6 to 3.4)`."""
    if not has_answer(row):
        return "–"
    unit, digits = Unit.of(row), decimals(row)
    ends = f"{unit.bare(row['low'], digits)} to {unit.bare(row['high'], digits)}"
    return f"{unit.change(row['effect'], digits)} ({ends})"


def relative_figures(row: Row) -> str:
    """The relative effect and its interval, for a table."""
    effect, low, high = row["effect_rel"], row["rel_low"], row["rel_high"]
    if effect is None or low is None or high is None:
        return "–"
    unit = Unit.of(row, "relative")
    digits = unit.decimals(high - low)
    return f"{unit.change(effect, digits)} ({unit.bare(low, digits)} to {unit.bare(high, digits)})"


def picture(row: Row, *, reach: tuple[float, float] | None = None) -> Interval | None:
    """The interval in force against zero and the practical threshold; None without an answer."""
    if not has_answer(row):
        return None
    unit, threshold = Unit.of(row), row["practical_threshold"] or 0.0
    return Interval(
        effect=row["effect"],
        low=row["low"],
        high=row["high"],
        unit=unit,
        alt=_alt(row),
        tone=row["tone"],
        marks=_thresholds(threshold, row["direction"], unit),
        reach=reach,
        sides=sides_of(row["direction"]) if row["is_judged"] else ("", ""),
    )


def common_reach(rows: Sequence[Row]) -> tuple[float, float] | None:
    """The axis on which the pictures of all these results fit, their thresholds included; None without an answer."""
    shown = [row for row in rows if has_answer(row)]
    if not shown:
        return None
    threshold = max(row["practical_threshold"] or 0.0 for row in shown)
    low, high = min(row["low"] for row in shown), max(row["high"] for row in shown)
    return min(low, -threshold), max(high, threshold)


def sides_of(direction: str) -> tuple[str, str]:
    """The words for a fall and for a rise of a metric."""
    return ("worse", "better") if direction == "increase" else ("better", "worse")


def _thresholds(threshold: float, direction: str, unit: Unit) -> tuple[Mark, ...]:
    """The practical threshold on both sides of zero; the good side has the words."""
    if not threshold:
        return ()
    good = threshold if direction == "increase" else -threshold
    return (Mark(good, f"matters from {threshold_text(threshold, unit)}"), Mark(-good))


def threshold_text(threshold: float, unit: Unit) -> str:
    """A threshold with its unit and no more digits than it has."""
    return unit.change(threshold, _own_decimals(threshold * (100 if unit.in_percent else 1)), sign=False)


def level_of_interval(row: Row) -> str:
    """The confidence level: `95%`."""
    return f"{100 * (1 - row['alpha']):g}%"


def _own_decimals(value: float) -> int:
    return next((digits for digits in range(8) if abs(value - round(value, digits)) < 1e-9 * max(1.0, abs(value))), 8)


def _alt(row: Row) -> str:
    unit, digits = Unit.of(row), decimals(row)
    span = unit.span(row["low"], row["high"], digits)
    threshold = row["practical_threshold"]
    beside = f", threshold {threshold_text(threshold, unit)}" if threshold else ""
    return (
        f"{row['title']}, {row['arm']}: {unit.change(row['effect'], digits)}, interval {span}{beside}; {verdict(row)}"
    )


def _inside(row: Row) -> str:
    """A title inside a sentence: its first letter small, unless the word is an abbreviation."""
    title = str(row["title"])
    return title[:1].lower() + title[1:] if title[1:2].islower() else title
