"""J5 put together: the four tables of statistics from the unit rows and the outcome events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.lake.batches import Batches
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import families
from exp_platform.metrics.group_sums import GROUP, roll_up
from exp_platform.metrics.histograms import Histograms
from exp_platform.metrics.panel_sums import PanelCut
from exp_platform.metrics.panels import PanelSums, panel_rows, panels_of
from exp_platform.metrics.statistics_table import Statistics, in_order, units_by_value, units_of
from exp_platform.metrics.unit_scales import ENDS_SQL, caps_not_applied, pooled_scales, unit_ends
from exp_platform.metrics.unit_sums import SUMS_SQL, by_column, unit_sums
from exp_platform.metrics.values import of_events
from exp_platform.transforms.aggregates import KnownSums, calendar_rows
from exp_platform.transforms.cohort_dates import on_dates
from exp_platform.transforms.histograms import event_histograms
from exp_platform.transforms.joins import HASH, JoinHint
from exp_platform.transforms.last_run import LastRun, known_histograms, known_sums
from exp_platform.transforms.panel import daily_values, source_bounds, sums_and_products

STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL = "gold.fct_experiment_panel_statistics"
OVERALL = "exp.metric_aggregates_overall"
DAILY = "exp.metric_aggregates_daily"
WARNINGS = "warnings"  # a note of the statistics
PANEL_ORDER = ("metric_name", "variant_id", "cohort_date", "day_i", "day_j")


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
    cluster: str | None = None  # dimension that clusters a rollout's errors
    last: LastRun | None = None  # what an earlier run's sums still say


@dataclass(frozen=True)
class MetricTables:
    """The rows of J5's tables by name, what the next run must know of them, and what to warn of."""

    rows: dict[str, pa.Table]
    notes: dict[str, dict[str, Any]]
    warnings: list[str]


@dataclass(frozen=True)
class UnitSums:
    """What the unit rows alone say, and the events that an event-level quantile counts in their windows."""

    statistics: pa.Table  # rows of that table
    overall: pa.Table
    by_cohort_date: pa.Table  # rows of the daily table
    units: dict[tuple[str, date], int]  # by arm and cohort date
    warnings: list[str]


def metric_tables(inputs: Inputs) -> MetricTables:
    """Two passes over unit rows, three over the events that no earlier run has counted, to small tables in Arrow."""
    schemas = {name: arrow_schema(TABLES[name]) for name in (STATISTICS, OVERALL, DAILY, PANEL)}
    last = inputs.last
    sums = _known(last, schemas) if last is not None and last.same_units else _counted(inputs, schemas)
    panel, cut = _panel(inputs, sums, schemas[PANEL])
    rows = {
        STATISTICS: sums.statistics,
        OVERALL: sums.overall,
        DAILY: in_order([sums.by_cohort_date, _calendar(inputs, schemas[DAILY])]),
        PANEL: panel,
    }
    return MetricTables(rows, {STATISTICS: {WARNINGS: sums.warnings}, PANEL: cut}, sums.warnings)


def _counted(inputs: Inputs, schemas: dict[str, pa.Schema]) -> UnitSums:
    metrics, units = inputs.metrics, inputs.units.rows
    ends = inputs.units.collect(partial(unit_ends, metrics=metrics, units=units), ENDS_SQL)
    scales = pooled_scales(ends, metrics, units)
    sums = inputs.units.collect(partial(unit_sums, metrics=metrics, scales=scales), SUMS_SQL)
    histograms = Histograms.merged([Histograms.of_sums(sums), _event_histograms(inputs)])
    parts = [
        Statistics.of(
            inputs.experiment_id, family, roll_up(by_column(sums, family, scales), GROUP), scales, inputs.variants
        )
        for family in families(metrics)
    ]
    statistics = in_order([part.rows(histograms, schemas[STATISTICS]) for part in parts])
    return UnitSums(
        statistics,
        in_order([part.overall(schemas[OVERALL]) for part in parts]),
        in_order([part.by_cohort_date(schemas[DAILY]) for part in parts]),
        units_of(statistics),
        caps_not_applied(scales, metrics),
    )


def _known(last: LastRun, schemas: dict[str, pa.Schema]) -> UnitSums:
    """From the same unit rows as the earlier run's; no event in a window has come, or one of them would differ."""
    return UnitSums(
        last.statistics.cast(schemas[STATISTICS]),
        last.overall.cast(schemas[OVERALL]),
        last.daily.filter(pc.field("date_kind") == "cohort").cast(schemas[DAILY]),
        units_of(last.statistics),
        list(last.statistics_notes[WARNINGS]),
    )


def _event_histograms(inputs: Inputs) -> Histograms:
    """All events of all units; or those of an earlier run, the new events, and all events of units that are new."""
    last, metrics = inputs.last, inputs.metrics
    wanted = {metric.name: i for i, metric in enumerate(metrics) if of_events(metric)}
    # A unit that has become mature brings its old events with it.
    only_gains = all(m.maturity_in_force == "any" for m in metrics if of_events(m))
    if last is None or last.changed or not only_gains:
        return _histograms(inputs, inputs.cohort, inputs.outcomes)
    known = inputs.cohort.where(~on_dates(last.appeared))
    found = [known_histograms(last.statistics, wanted), _histograms(inputs, known, last.new_events)]
    if last.appeared:
        since = inputs.outcomes.where(F.col("outcome_ts") >= F.lit(min(last.appeared)))
        found.append(_histograms(inputs, inputs.cohort.where(on_dates(last.appeared)), since))
    return Histograms.merged(found)


def _histograms(inputs: Inputs, cohort: DataFrame, outcomes: DataFrame) -> Histograms:
    counts = event_histograms(
        cohort, outcomes, inputs.metrics, end_ts=inputs.end_ts, cutoff=inputs.cutoff, join=inputs.join
    )
    return Histograms.merged([]) if counts is None else Histograms.of_rows(counts.toArrow())


def _calendar(inputs: Inputs, schema: pa.Schema) -> pa.Table:
    last = inputs.last
    return calendar_rows(
        inputs.cohort,
        inputs.outcomes,
        inputs.metrics,
        experiment_id=inputs.experiment_id,
        end_ts=inputs.end_ts,
        cutoff=inputs.cutoff,
        schema=schema,
        far=inputs.far,
        join=inputs.join,
        known=None if last is None else KnownSums(known_sums(last.daily, last.calendar_from), last.calendar_from),
    )


def _panel(inputs: Inputs, known: UnitSums, schema: pa.Schema) -> tuple[pa.Table, dict[str, Any]]:
    by_metric, last, units = panels_of(inputs.metrics), inputs.last, known.units
    panels = tuple(dict.fromkeys(by_metric.values()))
    if not panels:
        return schema.empty_table(), {}
    bounds = source_bounds(inputs.outcomes if last is None else last.appended, panels)
    cut = PanelCut.of(panels, bounds, inputs.units.rows, None if last is None else last.panel_notes)
    cohort, outcomes = inputs.cohort, inputs.outcomes
    kept = schema.empty_table()
    if last is not None and cut.same_as(last.panel_notes):
        anew = pc.is_in(last.panel["cohort_date"], pa.array(last.panel_dates, pa.date32()))
        kept = last.panel.filter(pc.invert(anew))
        units = {arm: n for arm, n in units.items() if arm[1] in last.panel_dates}
        cohort, outcomes = _of_dates(cohort, outcomes, last.panel_dates, max(panel.days for panel in panels))
    found = PanelSums({}, {}, {})
    if units:
        options: dict[str, Any] = {"far": inputs.far, "join": inputs.join, "cluster": inputs.cluster}
        found = sums_and_products(daily_values(cohort, outcomes, panels, inputs.cutoff, **options), panels, cut)
    clusters = units_by_value(known.statistics, inputs.cluster) if inputs.cluster else {}
    taken = panel_rows(inputs.experiment_id, by_metric, panels, units, clusters, found, schema)
    order = [(name, "ascending") for name in PANEL_ORDER]
    return pa.concat_tables([kept.cast(schema), taken]).sort_by(order), cut.notes()


def _of_dates(cohort: DataFrame, outcomes: DataFrame, dates: frozenset[date], days: int) -> tuple[DataFrame, DataFrame]:
    """The units of some cohort dates, and the events from the first that their panels can hold."""
    mine = cohort.where(on_dates(dates))
    first = mine.agg(F.min("assignment_time_utc")).collect()[0][0]
    if first is None:
        return mine, outcomes.where(F.lit(False))
    return mine, outcomes.where(F.col("outcome_ts") >= F.lit(first - timedelta(days=days)))
