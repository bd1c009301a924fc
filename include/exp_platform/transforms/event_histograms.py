"""J5: histograms of event-level quantile metrics, in the groups of the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import micros, post_period
from exp_platform.stats.histogram import BIN_SQL
from exp_platform.sums.group_sums import ALL, GROUP, NO_BUCKET
from exp_platform.transforms.cohort import dimension_columns, dimension_names, dimensions_of
from exp_platform.transforms.excluded import touches
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.unit_outcomes import unit_bucket
from exp_platform.transforms.unit_partials import seen_events, unit_windows
from exp_platform.transforms.windows import period_end, period_start


def event_histograms(
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    end_ts: datetime,
    cutoff: datetime,
    join: JoinHint = HASH,
    excluded: Sequence[date] = (),
) -> DataFrame | None:
    """One row per group × event-level quantile metric × bin: events in the window, the smallest and the largest value.

    There is no frame without such a metric. With `maturity: complete` only events of mature units count, and a fixed
    cap holds for each event. A unit whose window holds some of an `excluded` date has no event.
    """
    wanted = [(i, metric) for i, metric in enumerate(metrics) if metric.of_events]
    if not wanted:
        return None
    names = dimension_names(cohort)
    unit = ("variant_id", "cohort_date", "unit_bucket", *dimensions_of(names))
    bucket = unit_bucket().alias("unit_bucket")
    units = unit_windows(cohort, "variant_id", "cohort_date", bucket, *dimension_columns(names))
    joined = events_of_units(units, seen_events(outcomes, [m.sources[0] for _, m in wanted], cutoff), join)
    time, values = F.col("event_us"), []
    for i, metric in wanted:
        period = post_period(metric, end_ts)
        here = (
            (F.col("metric_name") == metric.sources[0]) & (time >= period_start(period)) & (time < period_end(period))
        )
        if excluded:
            here = here & ~touches(period, excluded)
        if metric.maturity_in_force == "complete":
            here = here & (period_end(period) <= F.lit(micros(cutoff)))
        cap = metric.cap.value if metric.cap else None
        value = F.col("value") if cap is None else F.least("value", F.lit(cap))
        values.append(F.struct(F.lit(i).alias("metric"), F.when(here, value).alias("value")))
    long = joined.select(*unit, F.inline(F.array(*values))).where("value is not null")
    binned = long.withColumn("bin", F.expr(BIN_SQL.format(v="value")))
    counted = F.count(F.lit(1)).alias("count"), F.min("value").alias("low"), F.max("value").alias("high")
    return grouped(binned, names).groupBy(*GROUP, "bin").agg(*counted)


def grouped(binned: DataFrame, names: Sequence[str]) -> DataFrame:
    """Each row once for every group that its unit is in, from a column for each dimension."""
    date, bucket = F.col("cohort_date"), F.lit(NO_BUCKET)
    of_everyone = [(F.lit(ALL), date, bucket), (F.lit(ALL), F.lit(None).cast("date"), F.col("unit_bucket"))]
    known = [(F.concat(F.lit(f"{name}="), F.col(f"d{i}")), date, bucket) for i, name in enumerate(names)]
    group = ("segment", "cohort_date", "unit_bucket")
    groups = [F.struct(*(c.alias(n) for c, n in zip(each, group, strict=True))) for each in of_everyone + known]
    rows = binned.select("metric", "variant_id", "bin", "value", F.inline(F.array(*groups)))
    return rows.where("segment is not null")
