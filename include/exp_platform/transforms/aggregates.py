"""J5: sums of events by calendar day, for metrics that add up over days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import ADDS_UP_OVER_DAYS, DAY_US, UnitValue, micros, post_period, unit_values
from exp_platform.transforms.metric_statistics import ALL, by_metric
from exp_platform.transforms.unit_partials import HI, LO, USER, seen_events, whole_sum
from exp_platform.transforms.windows import period_end, period_start

GROUP = ["metric", "variant_id", "segment", "date"]


def calendar_metrics(metrics: Sequence[Metric]) -> tuple[tuple[int, tuple[UnitValue, ...]], ...]:
    """The metrics whose values are sums over days: sum, count, and ratios of them."""
    found = ((i, unit_values(metric)) for i, metric in enumerate(metrics) if metric.type != "quantile")
    return tuple((i, v) for i, v in found if v and all(part.aggregation in ADDS_UP_OVER_DAYS for part in v))


def calendar_rows(
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    experiment_id: str,
    end_ts: datetime,
    cutoff: datetime,
) -> DataFrame | None:
    """Calendar rows of exp.metric_aggregates_daily: what happened on a UTC day inside the windows, uncapped.

    n counts the included units whose window holds some of the day; the sum of squares needs each unit's running total
    and is null, as are the covariate's columns. Days on which no window is open have no row. None: no such metric.
    """
    wanted = calendar_metrics(metrics)
    if not wanted:
        return None
    segments = F.concat(
        F.array(F.lit(ALL)),
        F.transform(F.map_entries("dimensions"), lambda e: F.concat(e["key"], F.lit("="), e["value"])),
    )
    units = cohort.where("included").select(
        *USER,
        "variant_id",
        segments.alias("segments"),
        F.unix_micros("assignment_time_utc").alias("assignment_us"),
        F.unix_micros("anchor_utc").alias("anchor_us"),
    )
    sums = _event_sums(units, outcomes, wanted, end_ts, cutoff)
    rows = _units_at_risk(units, wanted, end_ts, cutoff).join(sums, GROUP, "left")
    has_denominator = by_metric({i: len(parts) == 2 for i, parts in wanted}, "boolean")
    null = F.lit(None).cast("double")
    nulls = ("sum_squares", "covariate_sum", "covariate_sum_squares", "covariate_cross_product")
    return rows.select(
        F.lit(experiment_id).alias("experiment_id"),
        by_metric({i: parts[0].metric.name for i, parts in wanted}, "string").alias("metric_name"),
        "variant_id",
        "segment",
        F.lit("calendar").alias("date_kind"),
        "date",
        "n",
        F.lit(0).cast("bigint").alias("n_null"),
        F.coalesce("sum_0", F.lit(0.0)).alias("sum"),
        *(null.alias(name) for name in nulls),
        F.when(has_denominator, F.coalesce("sum_1", F.lit(0.0))).alias("denominator_sum"),
        null.alias("denominator_sum_squares"),
        null.alias("denominator_cross_product"),
    )


def _event_sums(
    units: DataFrame,
    outcomes: DataFrame,
    wanted: Sequence[tuple[int, tuple[UnitValue, ...]]],
    end_ts: datetime,
    cutoff: datetime,
) -> DataFrame:
    events = seen_events(outcomes, [v.source for _, parts in wanted for v in parts], cutoff)
    high = F.floor(F.col("value") * F.lit(HI))
    low = F.floor((F.col("value") - high / F.lit(HI)) * F.lit(LO))
    here = F.array_compact(
        F.array(*(_record(i, part, value, end_ts) for i, parts in wanted for part, value in enumerate(parts)))
    )
    long = events.join(units, USER, "inner").select(
        "variant_id",
        F.explode("segments").alias("segment"),
        F.date_from_unix_date(F.floor(F.col("event_us") / F.lit(float(DAY_US))).cast("int")).alias("date"),
        high.alias("hi"),
        low.alias("lo"),
        here.alias("here"),
    )
    long = long.select("variant_id", "segment", "date", "hi", "lo", F.inline("here"))
    sums = long.groupBy(*GROUP, "part", "counts").agg(
        F.sum("hi").alias("hi"), F.sum("lo").alias("lo"), F.count(F.lit(1)).alias("events")
    )
    value = F.when(F.col("counts"), F.col("events").cast("double")).otherwise(whole_sum("hi", "lo"))
    return sums.groupBy(*GROUP).agg(*(F.max(F.when(F.col("part") == p, value)).alias(f"sum_{p}") for p in (0, 1)))


def _record(i: int, part: int, value: UnitValue, end_ts: datetime) -> Column:
    period = post_period(value.metric, end_ts)
    time = F.col("event_us")
    here = (F.col("metric_name") == value.source) & (time >= period_start(period)) & (time < period_end(period))
    counts = F.lit(value.aggregation == "count")
    return F.when(here, F.struct(F.lit(i).alias("metric"), F.lit(part).alias("part"), counts.alias("counts")))


def _units_at_risk(
    units: DataFrame, wanted: Sequence[tuple[int, tuple[UnitValue, ...]]], end_ts: datetime, cutoff: datetime
) -> DataFrame:
    """Units per metric × arm × segment × day whose window holds some of that day."""

    def day(instant: Column) -> Column:
        return F.floor(instant / F.lit(float(DAY_US))).cast("int")

    spans = []
    for i, parts in wanted:
        period = post_period(parts[0].metric, end_ts)
        last = F.least(period_end(period), F.lit(micros(cutoff))) - 1
        opened = last >= period_start(period)
        span = F.struct(F.lit(i).alias("metric"), day(period_start(period)).alias("first"), day(last).alias("last"))
        spans.append(F.when(opened, span))
    long = units.select("variant_id", "segments", F.inline(F.array_compact(F.array(*spans))))
    counts = long.select("variant_id", F.explode("segments").alias("segment"), "metric", "first", "last")
    counts = counts.groupBy("metric", "variant_id", "segment", "first", "last").agg(F.count(F.lit(1)).alias("n"))
    days = counts.select(
        "metric", "variant_id", "segment", F.explode(F.sequence(F.col("first"), F.col("last"))).alias("day"), "n"
    )
    return days.groupBy("metric", "variant_id", "segment", F.date_from_unix_date("day").alias("date")).agg(
        F.sum("n").alias("n")
    )
