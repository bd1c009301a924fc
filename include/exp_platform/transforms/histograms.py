"""J5: histograms of event-level quantile metrics, in the groups of the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.group_sums import ALL, GROUP, NO_BUCKET
from exp_platform.metrics.values import micros, of_events, post_period
from exp_platform.stats.quantile import BIN_SQL
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.unit_outcomes import unit_bucket
from exp_platform.transforms.unit_partials import seen_events, unit_windows
from exp_platform.transforms.windows import period_end, period_start

UNIT = ("variant_id", "cohort_date", "unit_bucket", "dimensions")

# All units by cohort date and by bucket, and each of a unit's segments by cohort date.
GROUPS = f"""concat(
    array(named_struct('segment', '{ALL}', 'cohort_date', cohort_date, 'unit_bucket', {NO_BUCKET}),
          named_struct('segment', '{ALL}', 'cohort_date', cast(null as date), 'unit_bucket', unit_bucket)),
    transform(map_entries(dimensions), e -> named_struct(
        'segment', concat(e.key, '=', e.value), 'cohort_date', cohort_date, 'unit_bucket', {NO_BUCKET})))"""


def event_histograms(
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    end_ts: datetime,
    cutoff: datetime,
    join: JoinHint = HASH,
) -> DataFrame | None:
    """One row per group × event-level quantile metric × bin: events in the window; None without such a metric.

    With `maturity: complete` only events of mature units. A fixed cap holds for each event.
    """
    wanted = [(i, metric) for i, metric in enumerate(metrics) if of_events(metric)]
    if not wanted:
        return None
    units = unit_windows(cohort, "variant_id", "cohort_date", unit_bucket().alias("unit_bucket"), "dimensions")
    joined = events_of_units(units, seen_events(outcomes, [m.sources[0] for _, m in wanted], cutoff), join)
    time, records, windows = F.col("event_us"), [], []
    for i, metric in wanted:
        period = post_period(metric, end_ts)
        here = (
            (F.col("metric_name") == metric.sources[0]) & (time >= period_start(period)) & (time < period_end(period))
        )
        if metric.maturity_in_force == "complete":
            here = here & (period_end(period) <= F.lit(micros(cutoff)))
        cap = metric.cap.value if metric.cap else None
        value = F.col("value") if cap is None else F.least("value", F.lit(cap))
        windows.append(here)
        records.append(F.struct(F.lit(i).alias("metric"), F.when(here, value).alias("value")))
    inside = joined.where(reduce(or_, windows)).select(*UNIT, F.inline(F.array(*records)))
    return bin_counts(inside.where("value is not null"))


def bin_counts(long: DataFrame) -> DataFrame:
    """One row per group × metric × bin of `value`, with its count."""
    binned = long.withColumn("bin", F.expr(BIN_SQL.format(v="value"))).drop("value")
    return binned.selectExpr("metric", "variant_id", "bin", f"inline({GROUPS})").groupBy(*GROUP, "bin").count()
