"""Partial values of each unit from events: whole numbers, extremes and latest events, the same in any order of events.

A sum of doubles depends on its order, so each value is cut into two whole numbers (`hi` in steps of 2^-16, `lo` in
steps of 2^-58), whose sums are exact in any order; the total is put together and rounded once at the end. Values of
2^32 and more, called far, do not fit and are added up one by one in order of size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import (
    Period,
    UnitValue,
    all_unit_values,
    covariate_period,
    covariate_values,
    did_period,
    post_period,
)
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.windows import period_end, period_start

USER = ["experiment_id", "user_id"]

HI = float(2**16)
LO = float(2**58)
CARRY = 2**42  # steps of lo in one step of hi
FAR = float(2**32)  # below it, 32,000 events of the largest size fit in a unit's sum

Kind = Literal["sum", "count", "positive", "max", "last"]
KINDS: dict[str, tuple[Kind, ...]] = {
    "sum": ("sum",),
    "count": ("count",),
    "any": ("positive",),
    "max": ("max",),
    "mean": ("sum", "count"),
    "last": ("last",),
}


@dataclass(frozen=True)
class Slot:
    """One partial value of a unit: that of a source's events in a period, held in one to three columns."""

    source: str
    period: Period
    kind: Kind


@dataclass(frozen=True)
class Layout:
    """The slots that the metrics of an experiment need; metrics over the same events share slots."""

    slots: tuple[Slot, ...]
    far: bool = False  # True when an event's value is 2^32 or more

    @classmethod
    def of(cls, metrics: Sequence[Metric], end_ts: datetime, *, far: bool = False) -> Layout:
        """The slots of the metrics, each once: values over all three periods, named covariates, quantiles' events."""
        slots = [
            Slot(value.source, period, kind)
            for value in all_unit_values(metrics)
            for period in periods_of(value, end_ts)
            for kind in KINDS[value.aggregation]
        ]
        slots += [
            Slot(value.source, covariate_period(value.metric), kind)
            for metric in metrics
            for value in covariate_values(metric)
            for kind in KINDS[value.aggregation]
        ]
        slots += [Slot(m.sources[0], post_period(m, end_ts), "count") for m in metrics if m.of_events]
        return cls(tuple(dict.fromkeys(slots)), far)

    def column(self, source: str, period: Period, kind: Kind) -> str:
        """Name of a slot's column; for a sum, its first column."""
        return f"p{self.slots.index(Slot(source, period, kind))}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of outcome events that any slot needs."""
        return tuple(sorted({slot.source for slot in self.slots}))

    @property
    def cells(self) -> tuple[tuple[str, Period], ...]:
        """The distinct pairs of source and period."""
        return tuple(dict.fromkeys((slot.source, slot.period) for slot in self.slots))


def periods_of(value: UnitValue, end_ts: datetime) -> tuple[Period, Period, Period]:
    """The periods of a value: attribution window, covariate window, pre-period of difference-in-differences."""
    metric = value.metric
    return post_period(metric, end_ts), covariate_period(metric), did_period(metric, end_ts)


def seen_events(outcomes: DataFrame, sources: Sequence[str], cutoff: datetime) -> DataFrame:
    """The events of the given sources before the cut-off, with their time `event_us` in epoch microseconds."""
    wanted = F.col("metric_name").isin(*sorted(set(sources))) & (F.col("outcome_ts") < F.lit(cutoff))
    return outcomes.where(wanted).select(
        *USER,
        "metric_name",
        (F.col("value") + F.lit(0.0)).alias("value"),  # turns -0.0 into 0.0
        F.unix_micros("outcome_ts").alias("event_us"),
    )


def unit_windows(cohort: DataFrame, *others: Column | str) -> DataFrame:
    """One row per included unit: assignment and anchor in epoch microseconds, and the columns `others`."""
    return cohort.where("included").select(
        *USER,
        *others,
        F.unix_micros("assignment_time_utc").alias("assignment_us"),
        F.unix_micros("anchor_utc").alias("anchor_us"),
    )


def unit_partials(events: DataFrame, windows: DataFrame, layout: Layout, *, join: JoinHint = HASH) -> DataFrame:
    """One row per unit: the columns of `windows`, and its partial values.

    `p<i>` is null where a slot has no event. Grouping by all columns of `windows` spares a second join.
    """
    keys = windows.columns
    cell = {key: f"w{i}" for i, key in enumerate(layout.cells)}
    flags = [in_cell(source, period).alias(cell[source, period]) for source, period in layout.cells]
    joined = events_of_units(windows, events, join, "left").select(
        *keys,
        "event_us",
        "value",
        *cut_in_two(far=layout.far),
        *flags,
    )
    columns = [
        c
        for i, slot in enumerate(layout.slots)
        for c in _aggregate(i, slot, F.col(cell[slot.source, slot.period]), layout.far)
    ]
    return joined.groupBy(*keys).agg(*columns)


def slot_columns(i: int, slot: Slot, far: bool = False) -> tuple[str, ...]:
    """Names of the columns of slot `i`."""
    if slot.kind != "sum":
        return (f"p{i}",)
    return (f"p{i}", f"p{i}_lo", f"p{i}_far") if far else (f"p{i}", f"p{i}_lo")


def value_of(value: UnitValue, period: Period, layout: Layout) -> Column:
    """A unit's value from its partial values; without events 0 for sum, count and any, else null."""
    source, aggregation = value.source, value.aggregation
    if aggregation == "sum":
        return F.coalesce(_total(layout.column(source, period, "sum"), layout), F.lit(0.0))
    if aggregation == "count":
        return F.coalesce(F.col(layout.column(source, period, "count")), F.lit(0)).cast("double")
    if aggregation == "any":
        return F.coalesce(F.col(layout.column(source, period, "positive")) > 0, F.lit(False)).cast("double")
    if aggregation == "mean":
        total, count = (layout.column(source, period, kind) for kind in ("sum", "count"))
        return F.when(F.col(count) > 0, _total(total, layout) / F.col(count))
    if aggregation == "max":
        return F.col(layout.column(source, period, "max"))
    return F.col(f"{layout.column(source, period, 'last')}.value")


def has_far_values(outcomes: DataFrame) -> bool:
    """True when an event's value is 2^32 or more; Iceberg answers from its metadata."""
    row = outcomes.agg(F.min("value").alias("low"), F.max("value").alias("high")).collect()[0]
    return row["low"] is not None and max(-row["low"], row["high"]) >= FAR


def cut_in_two(*, far: bool = False) -> list[Column]:
    """`value` as two whole numbers, `hi` and `lo`; a far value gives 0 for both, or an error unless `far` is True."""
    high = F.floor(F.col("value") * F.lit(HI))
    low = F.floor((F.col("value") - high / F.lit(HI)) * F.lit(LO))
    too_large = F.abs("value") >= F.lit(FAR)  # null for a unit without events, which has nothing to cut
    refusal = F.concat(F.lit(f"a value of {FAR:.0f} or more, though none was expected: "), F.col("metric_name"))
    other = F.lit(0) if far else F.raise_error(refusal)
    return [F.when(too_large, other).otherwise(part).alias(name) for name, part in (("hi", high), ("lo", low))]


def far_sum(where: Column | None = None) -> Column:
    """Sum of the far values for which `where` holds, added up in order of size."""
    here = F.abs("value") >= F.lit(FAR)
    return sum_by_size(F.when(here if where is None else here & where, F.col("value")))


def sum_by_size(value: Column) -> Column:
    """Sum of doubles, the smallest first; collects them in memory, so for a few numbers only."""
    ordered = F.array_sort(F.collect_list(value))
    return F.aggregate(ordered, F.lit(0.0), lambda total, each: total + each)


def whole_sum(high: str, low: str) -> Column:
    """The exact sum of values that `cut_in_two` has cut, rounded once to a double, twice beyond 2^37."""
    carry = F.floor(F.col(low) / F.lit(float(CARRY)))
    return (F.col(high) + carry) / F.lit(HI) + (F.col(low) - carry * F.lit(CARRY)) / F.lit(LO)


def in_cell(source: str, period: Period) -> Column:
    """True for a source's events inside the period of their unit."""
    time = F.col("event_us")
    return (F.col("metric_name") == F.lit(source)) & (time >= period_start(period)) & (time < period_end(period))


def _total(column: str, layout: Layout) -> Column:
    near = whole_sum(column, f"{column}_lo")
    return near + F.col(f"{column}_far") if layout.far else near


def _aggregate(i: int, slot: Slot, here: Column, far: bool) -> list[Column]:
    if slot.kind == "sum":
        pieces = [F.sum(F.when(here, F.col(limb))) for limb in ("hi", "lo")] + ([far_sum(here)] if far else [])
    elif slot.kind == "count":
        pieces = [F.sum(F.when(here, F.lit(1)))]
    elif slot.kind == "positive":
        pieces = [F.sum(F.when(here & (F.col("value") > 0), F.lit(1)))]
    elif slot.kind == "max":
        pieces = [F.max(F.when(here, F.col("value")))]
    else:
        pieces = [F.max(F.when(here, F.struct(F.col("event_us"), F.col("value"))))]
    return [piece.alias(name) for piece, name in zip(pieces, slot_columns(i, slot, far), strict=True)]
