"""J5 put together: the four tables of statistics from the unit rows and the outcome events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.transforms.aggregates import calendar_rows
from exp_platform.transforms.histograms import (
    event_histograms,
    event_values,
    unit_histograms,
    with_event_presence,
)
from exp_platform.transforms.metric_statistics import (
    NO_BUCKET,
    Family,
    covariate_means,
    families,
    group_sums,
    roll_up,
    with_empty_arms,
)
from exp_platform.transforms.metric_values import Scale, caps_not_applied, metric_values, pooled_scales
from exp_platform.transforms.panel import daily_values, panel_statistics, panels_of
from exp_platform.transforms.statistics_rows import aggregate_rows, statistics_rows


@dataclass(frozen=True)
class Inputs:
    """What J5 reads of one experiment."""

    experiment_id: str
    units: DataFrame  # gold.fct_experiment_unit_outcomes
    cohort: DataFrame  # gold.fct_experiment_cohort
    outcomes: DataFrame  # exp.outcomes
    metrics: Sequence[Metric]
    variants: Sequence[str]  # live arms
    end_ts: datetime
    cutoff: datetime


@dataclass(frozen=True)
class MetricTables:
    """The rows of J5's tables, and what to warn of."""

    statistics: DataFrame
    overall: DataFrame
    daily: DataFrame
    warnings: list[str]


def metric_tables(inputs: Inputs, keep: Callable[[DataFrame], DataFrame] = lambda frame: frame) -> MetricTables:
    """Statistics and their roll-ups; `keep` persists the frames that are read more than once."""
    metrics = inputs.metrics
    events = event_values(
        inputs.units, inputs.cohort, inputs.outcomes, metrics, end_ts=inputs.end_ts, cutoff=inputs.cutoff
    )
    events = None if events is None else keep(events)
    values = keep(metric_values(with_event_presence(inputs.units, events, metrics), metrics))
    scales = pooled_scales(values, metrics)
    found = [
        h for h in (unit_histograms(values, metrics, scales), events and event_histograms(events)) if h is not None
    ]
    histograms = _union(found) if found else None
    statistics, overall, cohort_daily = [], [], []
    for family in families(metrics):
        sums = keep(with_empty_arms(group_sums(values, family, scales), family, inputs.variants))
        means = covariate_means(sums, family, scales)
        statistics.append(statistics_rows(sums, family, scales, means, histograms, inputs.experiment_id))
        overall.append(_overall(sums, family, scales, means, inputs.experiment_id))
        cohort_daily.append(_by_cohort_date(sums, family, scales, means, inputs.experiment_id))
    calendar = calendar_rows(
        inputs.cohort,
        inputs.outcomes,
        metrics,
        experiment_id=inputs.experiment_id,
        end_ts=inputs.end_ts,
        cutoff=inputs.cutoff,
    )
    daily = _union([*cohort_daily, *([] if calendar is None else [calendar])])
    return MetricTables(_union(statistics), _union(overall), daily, caps_not_applied(scales, metrics))


def panel_table(inputs: Inputs, keep: Callable[[DataFrame], DataFrame] = lambda frame: frame) -> DataFrame | None:
    """Rows of gold.fct_experiment_panel_statistics; None when no metric has a panel."""
    by_metric = panels_of(inputs.metrics)
    panels = tuple(dict.fromkeys(by_metric.values()))
    if not panels:
        return None
    daily = keep(daily_values(inputs.cohort, inputs.outcomes, panels, inputs.cutoff))
    units = inputs.cohort.where("included")
    return panel_statistics(units, daily, panels, by_metric, inputs.experiment_id)


def _overall(
    sums: DataFrame, family: Family, scales: dict[str, Scale], means: dict[int, float], experiment_id: str
) -> DataFrame:
    keys = ["metric", "variant_id", "segment"]
    rolled = roll_up(sums.where(F.col("unit_bucket") == NO_BUCKET), family, keys)
    return aggregate_rows(rolled, family, scales, means, experiment_id, [F.col("variant_id"), F.col("segment")])


def _by_cohort_date(
    sums: DataFrame, family: Family, scales: dict[str, Scale], means: dict[int, float], experiment_id: str
) -> DataFrame:
    dated = sums.where((F.col("unit_bucket") == NO_BUCKET) & F.col("cohort_date").isNotNull())
    keys = [
        F.col("variant_id"),
        F.col("segment"),
        F.lit("cohort").alias("date_kind"),
        F.col("cohort_date").alias("date"),
    ]
    return aggregate_rows(dated, family, scales, means, experiment_id, keys)


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def persisted() -> tuple[Callable[[DataFrame], DataFrame], Callable[[], None]]:
    """A `keep` that spills to disk rather than fail, and what releases all that it kept."""
    kept: list[DataFrame] = []

    def keep(frame: DataFrame) -> DataFrame:
        kept.append(frame.persist(StorageLevel.MEMORY_AND_DISK))
        return frame

    def release() -> None:
        while kept:
            kept.pop().unpersist()

    return keep, release
