"""J5: histograms of quantile metrics, of unit values or of events, in the groups of the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import micros, post_period
from exp_platform.stats.quantile import BIN_SQL
from exp_platform.transforms.caps import capped
from exp_platform.transforms.metric_statistics import GROUP, in_groups
from exp_platform.transforms.metric_values import Scale
from exp_platform.transforms.unit_partials import USER, seen_events
from exp_platform.transforms.windows import period_end, period_start

UNIT = ["variant_id", "cohort_date", "unit_bucket", "dimensions"]


def unit_histograms(values: DataFrame, metrics: Sequence[Metric], scales: dict[str, Scale]) -> DataFrame | None:
    """One row per group × unit-level quantile metric: units per bin of the capped value; None without such a metric."""
    records = [_unit_record(i, m, scales) for i, m in enumerate(metrics) if m.type == "quantile" and m.level == "unit"]
    if not records:
        return None
    long = values.select(*UNIT, F.inline(F.array(*records))).where(F.col("value").isNotNull())
    return _histogram(long)


def event_values(
    units: DataFrame,
    cohort: DataFrame,
    outcomes: DataFrame,
    metrics: Sequence[Metric],
    *,
    end_ts: datetime,
    cutoff: datetime,
) -> DataFrame | None:
    """One row per event in the window of an event-level quantile metric, with its unit; None without such a metric.

    With `maturity: complete` only events of mature units. A fixed cap holds for each event.
    """
    wanted = [(i, m) for i, m in enumerate(metrics) if m.type == "quantile" and m.level == "event"]
    if not wanted:
        return None
    windows = cohort.where("included").select(
        *USER,
        F.unix_micros("assignment_time_utc").alias("assignment_us"),
        F.unix_micros("anchor_utc").alias("anchor_us"),
    )
    known = units.select(*USER, *UNIT).join(windows, USER, "inner")
    events = seen_events(outcomes, [m.sources[0] for _, m in wanted], cutoff)
    joined = events.join(known, USER, "inner")
    records = F.array(*(_event_record(i, m, end_ts, cutoff) for i, m in wanted))
    return joined.select(*USER, *UNIT, F.inline(records)).where(F.col("value").isNotNull())


def event_histograms(events: DataFrame) -> DataFrame:
    """One row per group × event-level quantile metric: events per bin."""
    return _histogram(events.drop(*USER))


def with_event_presence(units: DataFrame, events: DataFrame | None, metrics: Sequence[Metric]) -> DataFrame:
    """The unit rows with `metrics` entries for event-level quantiles: how many events a unit has, null for none."""
    if events is None:
        return units
    wanted = [(i, m) for i, m in enumerate(metrics) if m.type == "quantile" and m.level == "event"]
    counts = events.groupBy(*USER).agg(*(F.count(F.when(F.col("metric") == i, 1)).alias(f"e{i}") for i, _ in wanted))
    entries = [c for i, m in wanted for c in (F.lit(m.name), F.when(F.col(f"e{i}") > 0, F.col(f"e{i}")).cast("double"))]
    joined = units.join(counts, USER, "left").withColumn("metrics", F.map_concat("metrics", F.create_map(*entries)))
    return joined.drop(*(f"e{i}" for i, _ in wanted))


def _histogram(long: DataFrame) -> DataFrame:
    binned = long.withColumn("bin", F.expr(BIN_SQL.format(v="value"))).drop("value")
    counts = in_groups(binned).groupBy(*GROUP, "bin").count()
    entries = F.sort_array(F.collect_list(F.struct("bin", "count")))
    return counts.groupBy(*GROUP).agg(F.map_from_entries(entries).alias("histogram"))


def _unit_record(i: int, metric: Metric, scales: dict[str, Scale]) -> Column:
    value = capped(F.col(f"y{i}"), scales[f"y{i}"].cap)
    if metric.maturity_in_force == "complete":
        value = F.when(F.col(f"mature{i}"), value)
    return F.struct(F.lit(i).alias("metric"), value.alias("value"))


def _event_record(i: int, metric: Metric, end_ts: datetime, cutoff: datetime) -> Column:
    period = post_period(metric, end_ts)
    time = F.col("event_us")
    here = (F.col("metric_name") == metric.sources[0]) & (time >= period_start(period)) & (time < period_end(period))
    if metric.maturity_in_force == "complete":
        here = here & (period_end(period) <= F.lit(micros(cutoff)))
    value = capped(F.col("value"), metric.cap.value if metric.cap else None)
    return F.struct(F.lit(i).alias("metric"), F.when(here, value).alias("value"))
