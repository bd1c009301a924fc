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
from exp_platform.metrics.group_sums import GROUP, roll_up
from exp_platform.metrics.panels import panel_rows, panels_of
from exp_platform.metrics.statistics_table import Key, Statistics, histograms_by_group, in_order
from exp_platform.transforms.aggregates import calendar_rows
from exp_platform.transforms.histograms import event_histograms, unit_histograms
from exp_platform.transforms.joins import HASH, JoinHint
from exp_platform.transforms.metric_statistics import sums_by_family
from exp_platform.transforms.metric_values import caps_not_applied, metric_values, pooled_scales
from exp_platform.transforms.panel import daily_values, source_bounds, sums_and_products

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
    join: JoinHint = HASH


@dataclass(frozen=True)
class MetricTables:
    """The rows of J5's tables by name, and what to warn of."""

    rows: dict[str, pa.Table]
    warnings: list[str]


def metric_tables(inputs: Inputs) -> MetricTables:
    """Unit rows, and three passes over events, to small tables in Arrow."""
    keep, release = persisted()
    try:
        return _metric_tables(inputs, keep)
    finally:
        release()


def _metric_tables(inputs: Inputs, keep: Keep) -> MetricTables:
    metrics = inputs.metrics
    values = keep(metric_values(inputs.units, metrics))
    scales = pooled_scales(values, metrics)
    of_events = event_histograms(
        inputs.cohort, inputs.outcomes, metrics, end_ts=inputs.end_ts, cutoff=inputs.cutoff, join=inputs.join
    )
    histograms: dict[Key, list[tuple[int, int]]] = {}
    for counts in (unit_histograms(values, metrics, scales), of_events):
        histograms |= {} if counts is None else histograms_by_group(counts.toArrow())
    parts = [
        Statistics.of(inputs.experiment_id, family, roll_up(sums, GROUP), scales, inputs.variants)
        for family, sums in sums_by_family(values, families(metrics), scales)
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
        join=inputs.join,
    )
    rows = {
        STATISTICS: in_order([part.rows(histograms, schemas[STATISTICS]) for part in parts]),
        OVERALL: in_order([part.overall(schemas[OVERALL]) for part in parts]),
        DAILY: in_order([*(part.by_cohort_date(schemas[DAILY]) for part in parts), calendar]),
        PANEL: _panel(inputs, parts[0], schemas[PANEL]),
    }
    return MetricTables(rows, caps_not_applied(scales, metrics))


def _panel(inputs: Inputs, statistics: Statistics, schema: pa.Schema) -> pa.Table:
    by_metric = panels_of(inputs.metrics)
    panels = tuple(dict.fromkeys(by_metric.values()))
    if not panels:
        return schema.empty_table()
    daily = daily_values(inputs.cohort, inputs.outcomes, panels, inputs.cutoff, far=inputs.far, join=inputs.join)
    largest = source_bounds(inputs.outcomes, panels)
    sums, products = sums_and_products(daily, panels, largest, statistics.scales.units)
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
