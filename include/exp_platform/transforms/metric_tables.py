"""J5 put together: the four tables of statistics from the unit rows and the outcome events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame

from exp_platform.config.models import Metric
from exp_platform.lake.batches import Batches
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import families
from exp_platform.metrics.group_sums import GROUP, roll_up
from exp_platform.metrics.panels import panel_rows, panels_of
from exp_platform.metrics.statistics_table import Statistics, histograms_by_group, in_order
from exp_platform.metrics.unit_bins import bin_rows
from exp_platform.metrics.unit_scales import ENDS_SQL, caps_not_applied, pooled_scales, unit_ends
from exp_platform.metrics.unit_sums import SUMS_SQL, by_column, unit_sums
from exp_platform.transforms.aggregates import calendar_rows
from exp_platform.transforms.histograms import event_histograms
from exp_platform.transforms.joins import HASH, JoinHint
from exp_platform.transforms.panel import daily_values, source_bounds, sums_and_products

STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL = "gold.fct_experiment_panel_statistics"
OVERALL = "exp.metric_aggregates_overall"
DAILY = "exp.metric_aggregates_daily"


@dataclass(frozen=True)
class Inputs:
    """What J5 reads of one experiment."""

    experiment_id: str
    units: Batches  # gold.fct_experiment_unit_outcomes
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
    """Two passes over unit rows, and three over events, to small tables in Arrow."""
    metrics, units = inputs.metrics, inputs.units.rows
    ends = inputs.units.collect(partial(unit_ends, metrics=metrics, units=units), ENDS_SQL)
    scales = pooled_scales(ends, metrics, units)
    sums = inputs.units.collect(partial(unit_sums, metrics=metrics, scales=scales), SUMS_SQL)
    of_events = event_histograms(
        inputs.cohort, inputs.outcomes, metrics, end_ts=inputs.end_ts, cutoff=inputs.cutoff, join=inputs.join
    )
    histograms = histograms_by_group(bin_rows(sums))
    if of_events is not None:
        histograms |= histograms_by_group(of_events.toArrow())
    parts = [
        Statistics.of(
            inputs.experiment_id, family, roll_up(by_column(sums, family, scales), GROUP), scales, inputs.variants
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
