"""The section over time: effect by as-of day, units by day with the sample ratio, quality of exposures by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Chart, Line, Mark, Section, Text
from exp_platform.memo.effect_words import threshold_text
from exp_platform.memo.figures import Unit, p_is
from exp_platform.memo.published import Source
from exp_platform.results.plan import in_force
from exp_platform.results.series_points import EffectPoint, EffectSeries, QualitySeries, UnitsSeries
from exp_platform.status import ResultStatus

PLAIN = 6  # the style without colour
FEWEST_DAYS = 2  # a line needs two points


def over_time(source: Source) -> Section | None:
    """One chart for each series that has at least two days, all from the same first day to the same last one."""
    effects = primary_effects(source)
    units, quality = source.published.units, source.published.quality_days
    every = [p.as_of for s in effects for p in s.points]
    every += [p.day for p in units.points] if units else []
    every += [p.day for s in quality for p in s.points]
    if len(set(every)) < FEWEST_DAYS:
        return None
    days = [min(every) + timedelta(days=i) for i in range((max(every) - min(every)).days + 1)]
    blocks: list[Any] = []
    for series in effects:
        blocks += _effect(series, days, source)
    if units is not None and units.points:
        blocks += _units(units, days, source)
    shown = [
        s for s in quality if s.check_name != "outcome_volume" and (s.failed or s.check_name == "exposure_logging")
    ]
    blocks += [_quality(series, days) for series in shown]
    return Section("over-time", "Over time", tuple(blocks)) if blocks else None


def primary_effects(source: Source) -> list[EffectSeries]:
    """The primary metric's effect of every arm by day: from the series, else from what past runs published."""
    primary = source.plan.experiment.primary_metric
    whole = {s.variant_id: s for s in source.published.effects if s.metric_name == primary and s.points}
    return [whole.get(series.variant_id, series) for series in from_looks(source)]


def from_looks(source: Source) -> list[EffectSeries]:
    """The primary metric's series from what past runs published: a day without a run has no point."""
    plan, found = source.plan, []
    if plan.primary is None:
        return []
    for arm in plan.experiment.treatments:
        rows = [
            row
            for row in source.published.looks
            if row["metric_name"] == plan.primary.name and row["variant_id"] == arm.id and row["dt"] <= plan.dt
        ]
        points = tuple(_point(row, source) for row in sorted(rows, key=lambda r: r["dt"]))
        found.append(
            EffectSeries(
                metric_name=plan.primary.name,
                variant_id=arm.id,
                method=plan.experiment.method_in_force,
                scale=plan.primary.decision_scale,
                threshold=plan.primary.practical_threshold or None,
                margin=None,
                points=points,
                cleared_zero=next((p.as_of for p in points if _excludes_zero(p)), None),
                cleared_threshold=None,
            )
        )
    return found


def _point(row: Mapping[str, Any], source: Source) -> EffectPoint:
    assert source.plan.primary is not None
    scale = source.plan.primary.decision_scale
    fixed, anytime = in_force("fixed", scale), in_force("anytime", scale)
    ok = row["status"] == ResultStatus.OK.value
    is_last = row["dt"] == source.plan.dt
    return EffectPoint(
        as_of=row["dt"],
        effect=row.get(fixed["effect"]) if ok else None,
        low=row.get(fixed["low"]) if ok else None,
        high=row.get(fixed["high"]) if ok else None,
        anytime_low=row.get(anytime["low"]) if ok else None,
        anytime_high=row.get(anytime["high"]) if ok else None,
        in_force=source.plan.interval_in_force if is_last else "anytime",
        control_n=row.get("control_n") or 0,
        treatment_n=row.get("treatment_n") or 0,
        control_mean=row.get("control_mean"),
        treatment_mean=row.get("treatment_mean"),
        status=row["status"],
        reason=row.get("reason") or "",
    )


def _excludes_zero(point: EffectPoint) -> bool:
    low, high = point.interval
    return low is not None and high is not None and (low > 0 or high < 0)


def _effect(series: EffectSeries, days: Sequence[date], source: Source) -> list[Any]:
    at = {point.as_of: point for point in series.points}
    if sum(point.effect is not None for point in series.points) < FEWEST_DAYS:
        return [Text(series.no_series)] if series.no_series else []
    metric = source.plan.metric(series.metric_name)
    unit = Unit(metric.format_in_force, metric.unit or "", series.scale == "relative")
    arm = f", {series.variant_id}" if source.several_arms else ""
    is_judged = any(r["is_judged"] for r in source.facts["metrics"] if r["arm"] == series.variant_id)
    marks: tuple[Mark, ...] = ()
    if series.threshold:
        good = series.threshold if metric.direction == "increase" else -series.threshold
        marks = (Mark(good, f"matters from {threshold_text(series.threshold, unit)}"), Mark(-good))
    cleared = series.cleared_zero if is_judged else None
    word = "effect" if is_judged else "difference that is no effect"
    told = f"; the interval in force first excluded 0 on {names.day(cleared.isoformat())}" if cleared else ""
    last = [point for point in series.points if point.effect is not None][-1]
    low, high = last.interval
    digits = unit.decimals(high - low) if low is not None and high is not None else 2
    now = f"now {unit.change(last.effect, digits)}" if last.effect is not None else "no answer now"
    chart = Chart(
        title=f"{metric.title_in_force}{arm}: {word} as of each day",
        days=tuple(day.isoformat() for day in days),
        lines=(
            Line(
                "valid at every look",
                values=(),
                low=tuple(_get(at, day, "anytime_low") for day in days),
                high=tuple(_get(at, day, "anytime_high") for day in days),
                style=1,
            ),
            Line(
                f"{word}, with the interval for one look",
                values=tuple(_get(at, day, "effect") for day in days),
                low=tuple(_get(at, day, "low") for day in days),
                high=tuple(_get(at, day, "high") for day in days),
                style=0 if is_judged else PLAIN,
            ),
        ),
        unit=unit,
        caption="" if unit.in_percent and unit.relative else unit.caption,
        alt=f"{word.capitalize()} in {metric.title_in_force} over {len(at)} days: {now}{told}",
        marks=marks,
        flags=((cleared.isoformat(), "first clear"),) if cleared else (),
    )
    notes = [Text(words.sentence(word), quiet=True) for word in series.differs]
    return [chart, *notes]


def _units(units: UnitsSeries, days: Sequence[date], source: Source) -> list[Any]:
    """Units by day and cumulative; the p of the sample ratio stands in the caption."""
    at = {(p.day, p.variant_id): p for p in units.points}
    text = tuple(day.isoformat() for day in days)
    failed = units.failed_since.isoformat() if units.failed_since else None
    ratio = p_is(units.sample_ratio[-1].p_value) if units.sample_ratio else "not asked of a rollout"
    since = f", broken since {names.day(failed)}" if failed else ""
    flags = ((failed, "sample ratio broken"),) if failed else ()

    def lines(name: str) -> tuple[Line, ...]:
        return tuple(
            Line(arm, tuple(_get(at, (day, arm), name) for day in days), style=i)
            for i, arm in enumerate(source.plan.arms)
        )

    total = {arm: max((p.total for p in units.points if p.variant_id == arm), default=0) for arm in source.plan.arms}
    alt = "Assigned users: " + ", ".join(f"{arm} {count:,}" for arm, count in total.items())
    unit = Unit("number", "users")
    return [
        Chart("Assigned users by day", text, lines("new"), unit, f"{alt}, by day", flags=flags),
        Chart(f"Assigned users in all (sample ratio: {ratio}{since})", text, lines("total"), unit, alt, flags=flags),
    ]


def _quality(series: QualitySeries, days: Sequence[date]) -> Chart:
    at = {point.day: point for point in series.points}
    failed = series.failed
    says = f"{len(failed)} of {len(series.points)} days failed" if failed else "every day passed"
    name = names.check_name(series.check_name)
    return Chart(
        title=f"{name[:1].upper()}{name[1:]} by day of assignment: {says}",
        days=tuple(day.isoformat() for day in days),
        lines=(
            Line("seen", tuple(_get(at, day, "observed") for day in days)),
            Line("expected", tuple(_get(at, day, "expected") for day in days), style=2),
        ),
        unit=Unit("number", relative=True),
        alt=f"{name}: {says}" + (f", the first on {names.day(failed[0].isoformat())}" if failed else ""),
        flags=tuple((day.isoformat(), "failed") for day in failed),
    )


def _get(at: Mapping[Any, Any], key: Any, name: str) -> float | None:
    return getattr(at[key], name) if key in at else None
