"""J4, second half: the metrics of every included user, uncapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import UnitValue, all_unit_values, micros, of_events, post_period
from exp_platform.transforms.cohort import has_dimensions, no_dimensions
from exp_platform.transforms.joins import HASH, JoinHint
from exp_platform.transforms.unit_partials import (
    USER,
    Layout,
    periods_of,
    seen_events,
    unit_partials,
    unit_windows,
    value_of,
)
from exp_platform.transforms.windows import period_end, period_start

BUCKETS = 256


def unit_outcomes(
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    end_ts: datetime,
    cutoff: datetime,
    far: bool = False,
    join: JoinHint = HASH,
) -> DataFrame:
    """One row per experiment × included user: value, covariate, pre-period and maturity of every metric.

    `cohort` is gold.fct_experiment_cohort, `outcomes` exp.outcomes; events before `cutoff` are seen. A value is null
    where the window has not opened by then, and, for max, mean and last, where the unit has no event. `far` says that
    some values are too large for the usual sums (see `has_far_values`).
    """
    layout = Layout.of(metrics, end_ts, far=far)
    events = seen_events(outcomes, layout.sources, cutoff)
    units = unit_partials(events, unit_windows(cohort, "variant_id"), layout, join=join, everyone=True)
    if has_dimensions(cohort):  # beside the units again: a map cannot be part of the key that they are grouped by
        units = units.join(cohort.where("included").select(*USER, "dimensions").hint(join), USER)
    else:
        units = units.withColumn("dimensions", no_dimensions())
    return _rows(units, metrics, layout, end_ts=end_ts, cutoff=cutoff)


def _rows(
    units: DataFrame, metrics: Sequence[Metric], layout: Layout, *, end_ts: datetime, cutoff: datetime
) -> DataFrame:
    values = all_unit_values(metrics)
    now, anchor = F.lit(micros(cutoff)), F.timestamp_micros("anchor_us")
    return units.select(
        *USER,
        "variant_id",
        anchor.alias("anchor_utc"),
        anchor.cast("date").alias("cohort_date"),
        unit_bucket().alias("unit_bucket"),
        _map((v.key, F.when(_opened(v, end_ts, now), _value(v, 0, layout, end_ts))) for v in values).alias("metrics"),
        _map((v.key, _value(v, 1, layout, end_ts)) for v in values).alias("covariates"),
        _map((v.key, _value(v, 2, layout, end_ts)) for v in values).alias("did_pre"),
        _map(((m.name, period_end(post_period(m, end_ts)) <= now) for m in metrics), "boolean").alias("mature"),
        _map(((m.name, _events(m, layout, end_ts)) for m in metrics if of_events(m)), "bigint").alias("event_counts"),
        "dimensions",
    )


def unit_bucket() -> Column:
    """0 to 255 from a hash that shares nothing with the team's own assignment hash."""
    return F.pmod(F.xxhash64(F.lit("bucket"), F.col("experiment_id"), F.col("user_id")), F.lit(BUCKETS)).cast("int")


def _value(value: UnitValue, period: int, layout: Layout, end_ts: datetime) -> Column:
    return value_of(value, periods_of(value, end_ts)[period], layout)


def _events(metric: Metric, layout: Layout, end_ts: datetime) -> Column:
    """A unit's events of an event-level quantile; null without any, so that the unit is counted as left out."""
    return F.col(layout.column(metric.sources[0], post_period(metric, end_ts), "count"))


def _opened(value: UnitValue, end_ts: datetime, now: Column) -> Column:
    return period_start(post_period(value.metric, end_ts)) < now


def _map(entries: Iterable[tuple[str, Column]], kind: str = "double") -> Column:
    pairs = [item for key, column in entries for item in (F.lit(key), column)]
    if not pairs:
        return F.from_json(F.lit("{}"), f"map<string,{kind}>")
    return F.create_map(*pairs).cast(f"map<string,{kind}>")
