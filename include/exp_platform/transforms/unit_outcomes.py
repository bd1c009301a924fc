"""J4, second half: the metrics of every included user, uncapped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.lake.arrow_files import finished
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import UNIT_OUTCOMES
from exp_platform.metrics.values import micros, post_period, unit_values
from exp_platform.sums.numbers import MAPS, Number, in_maps, stored_numbers
from exp_platform.transforms.cohort import has_dimensions, no_dimensions
from exp_platform.transforms.excluded import touches, usable
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
    excluded: Sequence[date] = (),
) -> DataFrame:
    """One row per experiment × included user: value, covariate, pre-period and maturity of every metric, in maps."""
    columns = unit_columns(
        cohort, outcomes, metrics, end_ts=end_ts, cutoff=cutoff, far=far, join=join, excluded=excluded
    )
    return finished(columns, TABLES[UNIT_OUTCOMES], partial(in_maps, metrics=metrics))


def unit_columns(
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    end_ts: datetime,
    cutoff: datetime,
    far: bool = False,
    join: JoinHint = HASH,
    excluded: Sequence[date] = (),
) -> DataFrame:
    """As `unit_outcomes`, with a column for each number, named as in `sums.numbers`; `in_maps` turns them into maps.

    `cohort` is gold.fct_experiment_cohort, `outcomes` exp.outcomes; events before `cutoff` are seen. A value is null
    where the window opens after it, and, for max, mean and last, where the unit has no event. `far` is True when
    a value is 2^32 or more (see `has_far_values`). Events on an `excluded` date are not read; a value, and that of
    just before the assignment, is null where its window holds some of such a date, but a covariate is not.
    """
    layout = Layout.of(metrics, end_ts, far=far)
    events = seen_events(usable(outcomes, "outcome_ts", excluded), layout.sources, cutoff)
    units = unit_partials(events, unit_windows(cohort, "variant_id"), layout, join=join)
    if has_dimensions(cohort):  # joined after the grouping, because a map can't be part of its key
        units = units.join(cohort.where("included").select(*USER, "dimensions").hint(join), USER)
    else:
        units = units.withColumn("dimensions", no_dimensions())
    now, anchor = F.lit(micros(cutoff)), F.timestamp_micros("anchor_us")
    return units.select(
        *USER,
        "variant_id",
        anchor.alias("anchor_utc"),
        anchor.cast("date").alias("cohort_date"),
        unit_bucket().alias("unit_bucket"),
        *(_number(number, layout, end_ts, now, excluded).alias(number.column) for number in stored_numbers(metrics)),
        *((period_end(post_period(m, end_ts)) <= now).alias(f"mature{i}") for i, m in enumerate(metrics)),
        *(_events(m, layout, end_ts, excluded).alias(f"y{i}") for i, m in enumerate(metrics) if m.of_events),
        "dimensions",
    )


def unit_bucket() -> Column:
    """A unit's bucket, 0 to 255, from a hash that is independent of the team's own assignment hash."""
    return F.pmod(F.xxhash64(F.lit("bucket"), F.col("experiment_id"), F.col("user_id")), F.lit(BUCKETS)).cast("int")


def _number(number: Number, layout: Layout, end_ts: datetime, now: Column, excluded: Sequence[date]) -> Column:
    value = next(value for value in unit_values(number.metric) if value.key == number.key)
    period = dict(zip(MAPS, periods_of(value, end_ts), strict=True))[number.source]
    known = value_of(value, period, layout)
    if excluded and period.kind != "covariate":
        known = F.when(~touches(period, excluded), known)
    return F.when(period_start(period) < now, known) if period.kind == "post" else known


def _events(metric: Metric, layout: Layout, end_ts: datetime, excluded: Sequence[date]) -> Column:
    """Number of a unit's events for an event-level quantile; null without events, so that it counts in n_null."""
    period = post_period(metric, end_ts)
    events = F.col(layout.column(metric.sources[0], period, "count"))
    return F.when(~touches(period, excluded), events) if excluded else events
