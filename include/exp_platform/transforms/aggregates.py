"""J5: what happened on each calendar day inside the windows, for metrics that add up over days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.group_sums import ALL
from exp_platform.metrics.statistics_table import as_table
from exp_platform.metrics.values import ADDS_UP_OVER_DAYS, DAY_US, Period, UnitValue, micros, post_period, unit_values
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.unit_partials import cut_in_two, far_sum, seen_events, sum_by_size, unit_windows, whole_sum
from exp_platform.transforms.windows import period_end, period_start


@dataclass(frozen=True)
class KnownSums:
    """Sums of an earlier run that still hold: by metric × arm × segment × day, of the days before one (None: all)."""

    sums: Mapping[tuple[str, str, str, date], tuple[float, float | None]]
    until: date | None


Calendar = tuple[tuple[Metric, tuple[UnitValue, ...]], ...]
EPOCH = date(1970, 1, 1)
SEGMENTS = f"concat(array('{ALL}'), transform(map_entries(dimensions), e -> concat(e.key, '=', e.value)))"


def calendar_metrics(metrics: Sequence[Metric]) -> Calendar:
    """The metrics whose values are sums over days: sum, count, and ratios of them."""
    found = ((metric, unit_values(metric)) for metric in metrics if metric.type != "quantile")
    return tuple((m, v) for m, v in found if v and all(part.aggregation in ADDS_UP_OVER_DAYS for part in v))


def calendar_rows(
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    experiment_id: str,
    end_ts: datetime,
    cutoff: datetime,
    schema: pa.Schema,
    far: bool = False,
    join: JoinHint = HASH,
    known: KnownSums | None = None,
) -> pa.Table:
    """Rows of exp.metric_aggregates_daily, date_kind `calendar`: sums of events by UTC day, uncapped.

    n counts the included units whose window holds some of the day; a day on which no window is open has no row. Sums
    of squares are null: they need each unit's running total and do not add up over days. Nor do covariates.
    """
    wanted = calendar_metrics(metrics)
    if not wanted:
        return schema.empty_table()
    units = unit_windows(cohort, "variant_id", F.expr(SEGMENTS).alias("segments"))
    periods = tuple(dict.fromkeys(post_period(metric, end_ts) for metric, _ in wanted))
    open_units = units_at_risk(units, periods, cutoff)
    sums = {} if known is None else _by_part(known, wanted)
    if known is None or known.until is not None:
        later = outcomes if known is None else outcomes.where(F.col("outcome_ts") >= F.lit(known.until))
        sums |= event_sums(units, later, wanted, end_ts, cutoff, far=far, join=join)
    columns: dict[str, list[Any]] = defaultdict(list)
    for metric, parts in wanted:
        for (variant, segment, day), n in sorted(open_units[periods.index(post_period(metric, end_ts))].items()):
            values = [sums.get((part.key, variant, segment, day), 0.0) for part in parts]
            row = {
                "experiment_id": experiment_id, "metric_name": metric.name, "variant_id": variant, "segment": segment,
                "date_kind": "calendar", "date": day, "n": n, "n_null": 0, "sum": values[0],
                "denominator_sum": values[1] if len(values) > 1 else None,
            }  # fmt: skip
            for name, value in row.items():
                columns[name].append(value)
    return as_table(columns, schema) if columns else schema.empty_table()


def _by_part(known: KnownSums, wanted: Calendar) -> dict[tuple[str, str, str, date], float]:
    parts = {metric.name: own for metric, own in wanted}
    return {
        (part.key, variant, segment, day): value
        for (name, variant, segment, day), values in known.sums.items()
        for part, value in zip(parts[name], values, strict=False)
        if value is not None
    }


def event_sums(
    units: DataFrame,
    outcomes: DataFrame,
    wanted: Calendar,
    end_ts: datetime,
    cutoff: datetime,
    *,
    far: bool = False,
    join: JoinHint = HASH,
) -> dict[tuple[str, str, str, date], float]:
    """Sum (or count) of the events in the window by key × arm × segment × day."""
    parts = [part for _, own in wanted for part in own]
    cells = tuple(dict.fromkeys((part.source, post_period(part.metric, end_ts)) for part in parts))
    events = seen_events(outcomes, [part.source for part in parts], cutoff)
    inside = [_inside(*cell) for cell in cells]
    joined = events_of_units(units, events, join).where(reduce(or_, inside))
    flags = [here.alias(f"in{i}") for i, here in enumerate(inside)]
    day = _day(F.col("event_us")).alias("day")
    flagged = joined.select("variant_id", "segments", day, "value", *cut_in_two(far=far), *flags)
    totals = flagged.groupBy("variant_id", "segments", "day").agg(
        *(
            F.sum(F.when(F.col(f"in{i}"), F.col(limb))).alias(f"{limb}{i}")
            for i in range(len(cells))
            for limb in ("hi", "lo")
        ),
        *(F.count_if(f"in{i}").alias(f"n{i}") for i in range(len(cells))),
        *(far_sum(F.col(f"in{i}")).alias(f"far{i}") for i in range(len(cells)) if far),
    )
    per_cell = F.array(*(_of_cell(i, far) for i in range(len(cells))))
    long = totals.select("variant_id", "segments", "day", F.inline(per_cell)).where("n > 0")
    by_segment = long.withColumn("segment", F.explode("segments")).groupBy("cell", "variant_id", "segment", "day")
    merged = by_segment.agg(
        F.sum("hi").alias("hi"),
        F.sum("lo").alias("lo"),
        F.sum("n").alias("n"),
        sum_by_size(F.col("far")).alias("far"),
    )
    total = (whole_sum("hi", "lo") + F.col("far")).alias("sum")
    rows = merged.select("cell", "variant_id", "segment", "day", total, "n").collect()
    by_cell = defaultdict(list)
    for row in rows:
        by_cell[cells[row["cell"]]].append(row)
    return {
        (part.key, row["variant_id"], row["segment"], _date(row["day"])): (
            float(row["n"]) if part.aggregation == "count" else row["sum"]
        )
        for part in parts
        for row in by_cell[part.source, post_period(part.metric, end_ts)]
    }


def units_at_risk(
    units: DataFrame, periods: Sequence[Period], cutoff: datetime
) -> list[dict[tuple[str, str, date], int]]:
    """For each window: units by arm × segment × day whose window holds some of that day."""
    spans = []
    for i, period in enumerate(periods):
        last = F.least(period_end(period), F.lit(micros(cutoff))) - 1
        span = F.struct(F.lit(i).alias("period"), _day(period_start(period)).alias("first"), _day(last).alias("last"))
        spans.append(F.when(last >= period_start(period), span))
    opened = units.select("variant_id", "segments", F.inline(F.array_compact(F.array(*spans))))
    counts = opened.groupBy("variant_id", "segments", "period", "first", "last").count()
    found: list[dict[tuple[str, str, date], int]] = [defaultdict(int) for _ in periods]
    for row in counts.collect():
        for day in range(row["first"], row["last"] + 1):
            for segment in row["segments"]:
                found[row["period"]][row["variant_id"], segment, _date(day)] += row["count"]
    return found


def _of_cell(i: int, far: bool) -> Column:
    columns = {"hi": F.col(f"hi{i}"), "lo": F.col(f"lo{i}"), "n": F.col(f"n{i}")}
    columns["far"] = F.col(f"far{i}") if far else F.lit(0.0)
    return F.struct(F.lit(i).alias("cell"), *(column.alias(name) for name, column in columns.items()))


def _inside(source: str, period: Period) -> Column:
    time = F.col("event_us")
    return (F.col("metric_name") == source) & (time >= period_start(period)) & (time < period_end(period))


def _day(instant: Column) -> Column:
    return F.floor(instant / F.lit(float(DAY_US))).cast("int")


def _date(day: int) -> date:
    return EPOCH + timedelta(days=day)
