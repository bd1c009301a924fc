"""J5 put together: the four tables of statistics from the unit rows and the outcome events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame

from exp_platform.config.models import Metric
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import families
from exp_platform.metrics.panels import panel_rows, panels_of
from exp_platform.metrics.statistics_table import Key, Statistics, histograms_by_group, in_order
from exp_platform.transforms.aggregates import calendar_rows
from exp_platform.transforms.histograms import bin_counts, event_values, unit_histograms, with_event_presence
from exp_platform.transforms.metric_statistics import group_sums
from exp_platform.transforms.metric_values import caps_not_applied, metric_values, pooled_scales
from exp_platform.transforms.panel import daily_values, day_products, day_sums, panel_exponents

STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL = "gold.fct_experiment_panel_statistics"
OVERALL = "exp.metric_aggregates_overall"
DAILY = "exp.metric_aggregates_daily"

Keep = Callable[[DataFrame], DataFrame]


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
    far: bool = False  # whether some values are too large for the usual sums


@dataclass(frozen=True)
class MetricTables:
    """The rows of J5's tables by name, and what to warn of."""

    rows: dict[str, pa.Table]
    warnings: list[str]


def metric_tables(inputs: Inputs) -> MetricTables:
    """One pass over the unit rows (and one over the events before assignment) to small tables in Arrow."""
    keep, release = persisted()
    try:
        return _metric_tables(inputs, keep)
    finally:
        release()


def _metric_tables(inputs: Inputs, keep: Keep) -> MetricTables:
    metrics = inputs.metrics
    events = event_values(
        inputs.units, inputs.cohort, inputs.outcomes, metrics, end_ts=inputs.end_ts, cutoff=inputs.cutoff
    )
    events = None if events is None else keep(events)
    values = keep(metric_values(with_event_presence(inputs.units, events, metrics), metrics))
    scales = pooled_scales(values, metrics)
    binned = (unit_histograms(values, metrics, scales), None if events is None else bin_counts(events))
    histograms: dict[Key, list[tuple[int, int]]] = {}
    for counts in binned:
        histograms |= {} if counts is None else histograms_by_group(counts.toArrow())
    parts = [
        Statistics.of(
            inputs.experiment_id, family, group_sums(values, family, scales).toArrow(), scales, inputs.variants
        )
        for family in families(metrics)
    ]
    schemas = {name: arrow_schema(TABLES[name]) for name in (STATISTICS, OVERALL, DAILY, PANEL)}
    calendar = calendar_rows(
        inputs.cohort,
        inputs.outcomes,
        metrics,
        experiment_id=inputs.experiment_id,
        end_ts=inputs.end_ts,
        cutoff=inputs.cutoff,
        schema=schemas[DAILY],
        far=inputs.far,
    )
    rows = {
        STATISTICS: in_order([part.rows(histograms, schemas[STATISTICS]) for part in parts]),
        OVERALL: in_order([part.overall(schemas[OVERALL]) for part in parts]),
        DAILY: in_order([*(part.by_cohort_date(schemas[DAILY]) for part in parts), calendar]),
        PANEL: _panel(inputs, parts[0], schemas[PANEL], keep),
    }
    return MetricTables(rows, caps_not_applied(scales, metrics))


def _panel(inputs: Inputs, statistics: Statistics, schema: pa.Schema, keep: Keep) -> pa.Table:
    by_metric = panels_of(inputs.metrics)
    panels = tuple(dict.fromkeys(by_metric.values()))
    if not panels:
        return schema.empty_table()
    daily = keep(daily_values(inputs.cohort, inputs.outcomes, panels, inputs.cutoff, far=inputs.far))
    exponents, limbs = panel_exponents(daily), statistics.scales.limbs
    sums, products = day_sums(daily, exponents, limbs), day_products(daily, exponents, limbs)
    return panel_rows(inputs.experiment_id, by_metric, panels, statistics.units(), sums, products, schema)


def persisted() -> tuple[Keep, Callable[[], None]]:
    """A `keep` that spills to disk rather than fail, and what releases all that it kept."""
    kept: list[DataFrame] = []

    def keep(frame: DataFrame) -> DataFrame:
        kept.append(frame.persist(StorageLevel.MEMORY_AND_DISK))
        return kept[-1]

    def release() -> None:
        while kept:
            kept.pop().unpersist()

    return keep, release
