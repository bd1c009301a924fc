"""The true effects: means of each metric in both worlds, computed by its contract over the units of each mode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.synth.generation import HOUR, SynthPlan

MODES = ("itt", "exposed")
EXACT_PERCENTILE_USERS = 1_000_000  # an exact percentile holds every distinct value in memory
UNIT = ("_key", "_is_treated", "_assign_us", "_first_exposure_us")


@dataclass(frozen=True)
class Measure:
    """One aggregation of one source over one window, for one mode; a ratio has two."""

    index: int
    metric: Metric
    mode: str
    part: str
    source: str
    aggregation: str  # sum, count, any, max, mean, last, or `event` for values of single events


def measures(metrics: Iterable[Metric]) -> tuple[Measure, ...]:
    """Every measure that the true effects of the metrics need."""
    found: list[Measure] = []
    for mode in MODES:
        for metric in metrics:
            if metric.numerator is not None and metric.denominator is not None:
                parts = [("numerator", metric.numerator), ("denominator", metric.denominator)]
                wanted: list[tuple[str, str, str]] = [(name, part.source, part.aggregation) for name, part in parts]
            else:
                wanted = [("value", metric.sources[0], metric.aggregation_in_force or "event")]
            for part_name, source, aggregation in wanted:
                found.append(Measure(len(found), metric, mode, part_name, source, aggregation))
    return tuple(found)


def true_effects(users: DataFrame, candidates: DataFrame, plan: SynthPlan) -> list[dict[str, Any]]:
    """One record per metric × mode × cap: means in both worlds, and their difference.

    The means are over all included units; in a rollout over the treated ones, whose effect difference-in-differences
    estimates. Every window counts as closed; without an assignment log a user is assigned at the first exposure.
    """
    wanted = measures(plan.metrics)
    if not wanted:
        return []
    of_units = tuple(m for m in wanted if m.aggregation != "event")
    of_events = tuple(m for m in wanted if m.aggregation == "event")
    units = _unit_values(users, candidates, of_units, plan).persist(StorageLevel.DISK_ONLY)
    try:
        percentiles = _percentiles(units, of_units, plan)
        means = _means(units, of_units, percentiles, plan)
    finally:
        units.unpersist()
    if of_events:
        percentiles |= _percentiles(_windowed(candidates, of_events, plan), of_events, plan)
    return _records(wanted, means, percentiles, plan)


def _windowed(candidates: DataFrame, wanted: tuple[Measure, ...], plan: SynthPlan) -> DataFrame:
    """One row per event × measure whose window holds the event."""
    per_source = F.when(F.lit(False), F.array().cast("array<struct<measure:int,low:bigint,high:bigint>>"))
    for source in dict.fromkeys(m.source for m in wanted):
        bounds = [F.struct(F.lit(m.index).alias("measure"), *_bounds(m, plan)) for m in wanted if m.source == source]
        per_source = per_source.when(F.col("metric_name") == source, F.array(*bounds))
    inside = (F.col("_at") >= F.col("low")) & (F.col("_at") < F.col("high"))
    return candidates.select(*UNIT, "_at", "_control", "_treated", F.inline(per_source)).where(inside)


def _anchor(mode: str, plan: SynthPlan) -> Column:
    first_exposure = mode == "exposed" or plan.experiment.assignment_source == "exposures"
    return F.col("_first_exposure_us" if first_exposure else "_assign_us")


def _bounds(measure: Measure, plan: SynthPlan) -> tuple[Column, Column]:
    """Start and end of a measure's half-open window in epoch microseconds; null where the unit is not included."""
    window, anchor, end = measure.metric.window, _anchor(measure.mode, plan), F.lit(plan.end_us)
    low = anchor + int(window.start_hours * HOUR)
    if window.end_hours == "experiment":
        return low.alias("low"), F.when(anchor.isNotNull(), end).alias("high")
    high = anchor + int(window.end_hours * HOUR)
    return low.alias("low"), (F.least(high, end) if window.truncate_at_end else high).alias("high")


def _unit_values(users: DataFrame, candidates: DataFrame, wanted: tuple[Measure, ...], plan: SynthPlan) -> DataFrame:
    """One row per included unit × measure: its value in both worlds, also without any event."""
    spine = users.select(*UNIT, F.explode(F.array(*[F.lit(m.index) for m in wanted])).alias("measure"))
    included = F.when(F.lit(False), F.lit(None).cast("long"))
    for measure in wanted:
        included = included.when(F.col("measure") == measure.index, _anchor(measure.mode, plan))
    nothing = F.lit(None).cast("double")
    spine = spine.where(included.isNotNull()).select(
        *(*UNIT, "measure"), F.lit(None).cast("long").alias("_at"), nothing.alias("_control"), nothing.alias("_treated")
    )
    events = spine.unionByName(_windowed(candidates, wanted, plan).select(*spine.columns))
    worlds = ("_control", "_treated")
    with_last = any(m.aggregation == "last" for m in wanted)
    sums = events.groupBy("_key", "_is_treated", "measure").agg(
        *[aggregate for world in worlds for aggregate in _aggregates(world, with_last)]
    )
    return sums.select("_is_treated", "measure", *[_value(world, wanted).alias(world) for world in worlds])


def _aggregates(world: str, with_last: bool) -> list[Column]:
    value = F.col(world)
    moment = F.when(value.isNotNull(), F.struct("_at", value.alias("v")))
    # A struct in the buffer turns Spark's hash aggregate into a slower sort, so it is used only for `last`.
    latest = F.max(moment)["v"] if with_last else F.max(F.lit(None).cast("double"))
    return [
        F.sum(value).alias(f"{world}/sum"),
        F.count(value).alias(f"{world}/count"),
        F.max(value).alias(f"{world}/max"),
        latest.alias(f"{world}/last"),
    ]


def _value(world: str, wanted: tuple[Measure, ...]) -> Column:
    """The value of a measure by its aggregation; without events 0 for sum, count and any, else null."""
    total, count, largest, latest = (F.col(f"{world}/{name}") for name in ("sum", "count", "max", "last"))
    by_name = {
        "sum": F.coalesce(total, F.lit(0.0)),
        "count": count.cast("double"),
        "any": F.when(largest > 0, 1.0).otherwise(0.0),
        "max": largest,
        "mean": F.when(count > 0, total / count),
        "last": latest,
    }
    value = F.when(F.lit(False), F.lit(None).cast("double"))
    for aggregation, expression in by_name.items():
        indices = [m.index for m in wanted if m.aggregation == aggregation]
        if indices:
            value = value.when(F.col("measure").isin(*indices), expression)
    return value


def _percentiles(values: DataFrame, wanted: tuple[Measure, ...], plan: SynthPlan) -> dict[tuple[int, str], float]:
    """(measure, `cap` | `_control` | `_treated`) -> percentile; that of `cap` is over each unit's own world."""
    needed = {m.index: q for m in wanted if (q := m.metric.quantile or (m.metric.cap and m.metric.cap.quantile))}
    if not needed:
        return {}
    levels = sorted(set(needed.values()))
    exact = plan.scenario.n_users <= EXACT_PERCENTILE_USERS
    found = {"cap": F.when(F.col("_is_treated"), F.col("_treated")).otherwise(F.col("_control"))}
    found |= {world: F.when(_counts(plan), F.col(world)) for world in ("_control", "_treated")}
    array = F.array(*[F.lit(q) for q in levels])
    rows = (
        values.where(F.col("measure").isin(*needed))
        .groupBy("measure")
        .agg(*[(F.percentile(v, array) if exact else F.percentile_approx(v, levels, 100_000)).alias(k)
               for k, v in found.items()])
        .collect()
    )  # fmt: skip
    return {
        (row["measure"], name): row[name][levels.index(needed[row["measure"]])]
        for row in rows
        for name in found
        if row[name] is not None
    }


def _counts(plan: SynthPlan) -> Column:
    """True for the units that the true effect averages over."""
    return F.col("_is_treated") if plan.experiment.design == "rollout" else F.lit(True)


def _cap(measure: Measure, percentiles: dict[tuple[int, str], float]) -> float | None:
    """The cap in force on a measure; a cap of 0 is not applied."""
    cap = measure.metric.cap
    if cap is None:
        return None
    return (cap.value if cap.value is not None else percentiles.get((measure.index, "cap"))) or None


def _means(
    units: DataFrame, wanted: tuple[Measure, ...], percentiles: dict[tuple[int, str], float], plan: SynthPlan
) -> dict[int, Row]:
    """Measure -> number of units, and the means of both worlds, plain and capped."""
    capped = F.when(F.lit(False), F.lit(float("inf")))
    for measure in wanted:
        if (limit := _cap(measure, percentiles)) is not None:
            capped = capped.when(F.col("measure") == measure.index, F.lit(limit))
    limit_column = capped.otherwise(F.lit(float("inf")))
    columns = [F.count(F.lit(1)).alias("units")]
    for world in ("_control", "_treated"):
        columns += [
            F.count(world).alias(f"{world}/n"),
            F.avg(world).alias(world),
            F.avg(F.when(F.col(world).isNotNull(), F.least(world, "limit"))).alias(f"{world}/capped"),
        ]
    rows = units.where(_counts(plan)).withColumn("limit", limit_column).groupBy("measure").agg(*columns).collect()
    return {row["measure"]: row for row in rows}


def _records(
    wanted: tuple[Measure, ...], means: dict[int, Row], percentiles: dict[tuple[int, str], float], plan: SynthPlan
) -> list[dict[str, Any]]:
    records = []
    by_metric: dict[tuple[str, str], list[Measure]] = {}
    for measure in wanted:
        by_metric.setdefault((measure.metric.name, measure.mode), []).append(measure)
    for (name, mode), parts in by_metric.items():
        metric = parts[0].metric
        head = {
            "metric": name,
            "version": metric.version,
            "mode": mode,
            "window": metric.window.model_dump(),
            "estimand": "att" if plan.experiment.design == "rollout" else "ate",
            "variants": [variant for variant, _ in plan.arms],
        }
        if metric.estimand == "quantile":
            worlds = [percentiles.get((parts[0].index, world)) for world in ("_control", "_treated")]
            records.append(head | {"quantile": metric.quantile, "cap": None} | _effect(*worlds))
            continue
        caps = [_cap(part, percentiles) for part in parts]
        for suffix in ("", "/capped") if any(caps) else ("",):
            worlds = [_mean(parts, means, world + suffix) for world in ("_control", "_treated")]
            shown = {"cap": caps[0] if suffix else None}
            if len(parts) == 2:
                shown["cap_denominator"] = caps[1] if suffix else None
            units = {"n_units": means[parts[0].index]["units"]} if parts[0].index in means else {"n_units": 0}
            records.append(head | shown | units | _effect(*worlds))
    return records


def _mean(parts: list[Measure], means: dict[int, Row], column: str) -> float | None:
    values = [means[part.index][column] if part.index in means else None for part in parts]
    if len(values) == 1 or None in values:
        return values[0] if len(values) == 1 else None
    return values[0] / values[1] if values[1] else None


def _effect(control: float | None, treated: float | None) -> dict[str, float | None]:
    """The means of both worlds, their difference, and the difference as a share of the control mean."""
    if control is None or treated is None:
        return {"control_mean": control, "treatment_mean": treated, "effect_abs": None, "effect_rel": None}
    effect = treated - control
    return {
        "control_mean": control,
        "treatment_mean": treated,
        "effect_abs": effect,
        "effect_rel": effect / abs(control) if control else None,
    }
