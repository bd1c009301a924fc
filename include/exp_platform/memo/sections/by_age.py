"""The section on effects by days since exposure: does the effect fade, or grow, as users get used to the change?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from exp_platform.memo import names
from exp_platform.memo.blocks import Chart, Line, Section, Text
from exp_platform.memo.figures import Unit, p_is
from exp_platform.memo.published import Source
from exp_platform.results.series_points import AgePoint, AgeSeries

Row = Mapping[str, Any]
PLAIN = 6  # the style without colour
FEWEST_AGES = 2  # a line needs two points
METRICS_SHOWN = 3
Age = tuple[float | None, float | None, float | None]  # effect with both ends of its interval


def by_age(source: Source) -> Section | None:
    """One chart for each arm of the primary metric, or of the first others that have an effect by age."""
    if source.plan.is_rollout:
        return None  # the plain difference between its arms is no effect
    blocks: list[Any] = []
    for metric in _metrics(source):
        for series in source.published.ages:
            if series.metric_name == metric and len(ages(series.points)) >= FEWEST_AGES:
                blocks += [_chart(series, ages(series.points), source), Text(_trend(series, source))]
    since = _since(source)
    if not blocks:
        return _by_arrival(source)
    note = (
        f"Users who came on one day are one group, with so many days since their {since}, at most the metric's window. "
        "Groups of as many days are pooled by their precision. These are plain comparisons. Shares are left out: they "
        "grow with the days also where the effect does not."
    )
    return Section("by-age", f"Effect by days since {since}", (*blocks, Text(note, quiet=True)))


def _by_arrival(source: Source) -> Section | None:
    """Where every window is closed all groups have as many days: the effect by the day on which users came."""
    blocks: list[Any] = []
    for series in source.published.ages[: METRICS_SHOWN * len(source.plan.experiment.treatments)]:
        groups = {p.cohort_date.toordinal(): (p.effect, p.low, p.high) for p in series.points if p.effect is not None}
        if len(groups) >= FEWEST_AGES:
            blocks += [_chart(series, groups, source, by_date=True), Text(_trend(series, source))]
    if not blocks:
        return None
    note = (
        "The windows of all users are closed, so that no group has more days than another: a trend over these dates "
        "would say that users who came late answer otherwise. Shares, extremes and means are left out."
    )
    return Section("by-age", "Effect by day of arrival", (*blocks, Text(note, quiet=True)))


def ages(points: Sequence[AgePoint]) -> dict[int, Age]:
    """Whole days since exposure -> the effect, pooled over the groups of users with as many days.

    An interval's width stands for the precision: each group counts by one over its square.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        if point.effect is not None and point.low is not None and point.high is not None and point.high > point.low:
            found.setdefault(int(point.days), []).append((point.effect, (point.high - point.low) / 2))
    pooled: dict[int, Age] = {}
    for days, groups in sorted(found.items()):
        weights = [1 / half**2 for _, half in groups]
        middle = sum(w * effect for w, (effect, _) in zip(weights, groups, strict=True)) / sum(weights)
        half = 1 / math.sqrt(sum(weights))
        pooled[days] = (middle, middle - half, middle + half)
    return pooled


def _since(source: Source) -> str:
    return "exposure" if source.plan.experiment.analysis_mode == "exposed" else "assignment"


def _metrics(source: Source) -> list[str]:
    """The primary metric alone where it has an effect by age, else the first others."""
    shown = {s.metric_name for s in source.published.ages if len(ages(s.points)) >= FEWEST_AGES}
    primary = source.plan.experiment.primary_metric
    if primary in shown:
        return [primary]
    return [metric.name for metric in source.plan.metrics if metric.name in shown][:METRICS_SHOWN]


def _chart(series: AgeSeries, at: Mapping[int, Age], source: Source, by_date: bool = False) -> Chart:
    """The effect at each number of days, or with `by_date` at each cohort date by its ordinal."""
    metric = source.plan.metric(series.metric_name)
    unit = Unit(metric.format_in_force, metric.unit or "")
    days = range(min(at), max(at) + 1)
    is_judged = any(r["is_judged"] for r in source.facts["metrics"] if r["arm"] == series.variant_id)
    word = "effect" if is_judged else "difference that is no effect"
    arm = f", {series.variant_id}" if source.several_arms else ""
    per = " per day" if series.per_day else ""
    nothing: Age = (None, None, None)
    values, lows, highs = zip(*(at.get(day, nothing) for day in days), strict=True)
    first, last = at[min(at)], at[max(at)]
    digits = unit.decimals((last[2] or 0.0) - (last[1] or 0.0))
    begin, end = (unit.change(age[0] or 0.0, digits) for age in (first, last))
    names_of = {day: date.fromordinal(day).isoformat() if by_date else str(day) for day in days}
    along = "day of arrival" if by_date else f"days since {_since(source)}"
    told = f"{begin} at {along} {names.day(names_of[min(at)])}, {end} at {names.day(names_of[max(at)])}"
    return Chart(
        title=f"{metric.title_in_force}{arm}: {word}{per} by {along}",
        days=tuple(names_of.values()),
        lines=(Line(f"{word}{per}, with its interval", values, lows, highs, style=0 if is_judged else PLAIN),),
        unit=unit,
        caption=unit.caption,
        alt=f"{word.capitalize()}{per} in {metric.title_in_force}: {told}",
    )


def _trend(series: AgeSeries, source: Source) -> str:
    """The verdict of the check of novelty on this metric and arm."""
    row = next(
        (
            r
            for r in source.published.checks
            if (r["check_name"], r["metric_name"], r["variant_id"])
            == ("novelty", series.metric_name, series.variant_id)
        ),
        None,
    )
    if row is None:
        return "Too few groups of users to test whether it changes with the days."
    if row["status"] == "ok":
        return f"No sign that it changes with the days ({p_is(row['p_value'])})."
    unit = Unit(
        source.plan.metric(series.metric_name).format_in_force, source.plan.metric(series.metric_name).unit or ""
    )
    late, early = row["observed"], row["expected"]
    figures = ""
    if late is not None and early is not None:
        digits = unit.decimals(abs(late - early))
        figures = (
            f": {unit.change(early, digits)} among users of few days, {unit.change(late, digits)} among those of many"
        )
    says = names.check_says("novelty")
    return f"{says[:1].upper()}{says[1:]} ({p_is(row['p_value'])}){figures}."
