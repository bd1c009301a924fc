"""J5: the four tables of statistics, made from the unit rows and the outcome events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import (
    METRIC_AGGREGATES_DAILY,
    METRIC_AGGREGATES_OVERALL,
    METRIC_SERIES,
    METRIC_STATISTICS,
    PANEL_STATISTICS,
)
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import families
from exp_platform.sums.group_sums import GROUP, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.panel_sums import totals
from exp_platform.sums.panels import PanelSums, panel_rows
from exp_platform.sums.scales import Scales
from exp_platform.sums.series_plan import SeriesPlan
from exp_platform.sums.series_table import family_key, totals_of
from exp_platform.sums.statistics_table import Statistics, in_order, units_by_value, units_of
from exp_platform.sums.unit_scales import ENDS_SQL, caps_not_applied, pooled_scales, unit_ends
from exp_platform.sums.unit_sums import SUMS_SQL, by_column, unit_sums
from exp_platform.transforms.aggregates import KnownSums, calendar_part, calendar_rows, event_sums
from exp_platform.transforms.cohort import dimension_names
from exp_platform.transforms.cohort_dates import on_dates
from exp_platform.transforms.earlier_sums import LastRun, known_histograms, known_sums
from exp_platform.transforms.event_histograms import histogram_part
from exp_platform.transforms.excluded import usable
from exp_platform.transforms.running_values import Series, metric_series
from exp_platform.transforms.sql import not_before
from exp_platform.transforms.sum_inputs import EventTables, SumInputs, UnitRows, WantedPanels

WARNINGS = "warnings"  # key in the notes that are stored with the statistics
PANEL_ORDER = ("metric_name", "variant_id", "cohort_date", "day_i", "day_j")


@dataclass(frozen=True)
class MetricTables:
    """The rows and notes of J5's tables, by table, and warnings for the task log."""

    rows: dict[str, pa.Table]
    notes: dict[str, dict[str, Any]]
    warnings: list[str]
    scales: Scales | None = None  # of the unit rows' numbers; None where an earlier run's sums are reused
    said: str = ""  # how the series was made, for the task log


@dataclass(frozen=True)
class UnitSums:
    """Sums over unit rows, with the histograms of event-level quantiles."""

    statistics: pa.Table  # rows of the statistics table
    overall: pa.Table
    by_cohort_date: pa.Table  # rows of the daily table
    units: dict[tuple[str, date], int]  # number of units by arm and cohort date
    warnings: list[str]
    scales: Scales | None = None
    totals: dict[str, pa.Table] = field(default_factory=dict)  # sums of all units by family; empty where reused


def metric_tables(inputs: SumInputs) -> MetricTables:
    """Make the tables in Arrow, by two passes over unit rows and one over the events that no earlier run has counted.

    Beside an earlier run's tables each part has a pass of its own, over the events and units that are new to it.
    """
    schemas = {
        name: arrow_schema(TABLES[name])
        for name in (
            METRIC_STATISTICS,
            METRIC_AGGREGATES_OVERALL,
            METRIC_AGGREGATES_DAILY,
            PANEL_STATISTICS,
            METRIC_SERIES,
        )
    }
    inputs = _with_names(_usable(inputs))
    last = inputs.last
    panels = WantedPanels.of(inputs)
    events = EventTables()
    if last is not None and last.same_units:
        sums = _known(last, schemas)
    else:
        units = _unit_rows(inputs)
        if last is None:
            events = _all_events(inputs, panels, units)
        sums = _counted(inputs, units, events.bins, schemas)
    panel, cut = _panel(inputs, panels, sums, events.panel, schemas[PANEL_STATISTICS])
    calendar = _calendar(inputs, events.calendar, schemas[METRIC_AGGREGATES_DAILY])
    rows = {
        METRIC_STATISTICS: sums.statistics,
        METRIC_AGGREGATES_OVERALL: sums.overall,
        METRIC_AGGREGATES_DAILY: in_order([sums.by_cohort_date, calendar]),
        PANEL_STATISTICS: panel,
    }
    said = ""
    if inputs.excluded:  # a user leaves a metric whose window holds such a day: running values do not know that
        rows[METRIC_SERIES], said = schemas[METRIC_SERIES].empty_table(), "no series: outcome days are excluded"
    elif inputs.series is not None:
        rows[METRIC_SERIES], said = _series(inputs, sums, events.changes)
    notes = {METRIC_STATISTICS: {WARNINGS: sums.warnings}, PANEL_STATISTICS: cut}
    return MetricTables(rows, notes, sums.warnings, sums.scales, said)


def _usable(inputs: SumInputs) -> SumInputs:
    """The inputs without the events of excluded dates."""
    dates, last = inputs.excluded, inputs.last
    if not dates:
        return inputs
    if last is not None:
        new, appended = (usable(events, "outcome_ts", dates) for events in (last.new_events, last.appended))
        last = replace(last, new_events=new, appended=appended)
    return replace(inputs, outcomes=usable(inputs.outcomes, "outcome_ts", dates), last=last)


def _with_names(inputs: SumInputs) -> SumInputs:
    """The inputs with the names of the dimensions, which are looked up where nobody has given them."""
    return inputs if inputs.dimensions is not None else replace(inputs, dimensions=dimension_names(inputs.cohort))


def _unit_rows(inputs: SumInputs) -> UnitRows:
    scales = _scales(inputs)
    return UnitRows(scales, inputs.units.collect(partial(unit_sums, metrics=inputs.metrics, scales=scales), SUMS_SQL))


def _scales(inputs: SumInputs) -> Scales:
    ends = inputs.units.collect(partial(unit_ends, metrics=inputs.metrics, units=inputs.units.rows), ENDS_SQL)
    return pooled_scales(ends, inputs.metrics, inputs.units.rows)


def _all_events(inputs: SumInputs, panels: WantedPanels, units: UnitRows) -> EventTables:
    """One pass over all events, with the parts of all tables."""
    wanted = {
        "bins": histogram_part(inputs.metrics, inputs.end_ts, inputs.dimensions or ()),
        "calendar": calendar_part(inputs.metrics, inputs.end_ts, inputs.dimensions or ()),
    }
    if panels.panels:
        wanted["panel"] = panels.part(inputs)
    series = _series_of(inputs)
    if series is not None and series.names and (span := series.span(units.dates)).days > 0:
        wanted["changes"] = series.part(series.plan(units.scales, span, series.names))
    found = inputs.over(inputs.cohort, inputs.outcomes).run(list(wanted.values()))
    return EventTables(**dict(zip(wanted, found, strict=True)))


def _counted(inputs: SumInputs, units: UnitRows, bins: pa.Table | None, schemas: dict[str, pa.Schema]) -> UnitSums:
    metrics, scales = inputs.metrics, units.scales
    of_events = _event_histograms(inputs) if bins is None else Histograms.of_sums(bins)
    histograms = Histograms.merged([Histograms.of_sums(units.sums), of_events])
    parts = [
        Statistics.of(
            inputs.experiment_id, family, roll_up(by_column(units.sums, family), GROUP), scales, inputs.variants
        )
        for family in families(metrics)
    ]
    statistics = in_order([part.rows(histograms, schemas[METRIC_STATISTICS]) for part in parts])
    return UnitSums(
        statistics,
        in_order([part.overall(schemas[METRIC_AGGREGATES_OVERALL]) for part in parts]),
        in_order([part.by_cohort_date(schemas[METRIC_AGGREGATES_DAILY]) for part in parts]),
        units_of(statistics),
        caps_not_applied(scales, metrics),
        scales,
        {family_key(part.family): totals_of(part.sums) for part in parts},
    )


def _series_of(inputs: SumInputs) -> Series | None:
    if inputs.series is None or inputs.excluded:
        return None
    return Series(
        inputs.experiment_id,
        inputs.series,
        inputs.metrics,
        inputs.variants,
        inputs.end_ts,
        inputs.cutoff,
        arrow_schema(TABLES[METRIC_SERIES]),
        inputs.far,
    )


def _series(inputs: SumInputs, sums: UnitSums, counted: pa.Table | None) -> tuple[pa.Table, str]:
    series = _series_of(inputs)
    assert series is not None

    def changes(plan: SeriesPlan) -> pa.Table:
        everything = inputs.over(inputs.cohort, inputs.outcomes)
        return everything.run([series.part(plan)])[0] if counted is None else counted

    dates = {day for _, day in sums.units}
    return metric_series(series, dates, lambda: sums.scales or _scales(inputs), sums.totals, inputs.last, changes)


def _known(last: LastRun, schemas: dict[str, pa.Schema]) -> UnitSums:
    """The sums of an earlier run with the same unit rows; no window has a new event, or its unit row would differ."""
    return UnitSums(
        last.statistics.cast(schemas[METRIC_STATISTICS]),
        last.overall.cast(schemas[METRIC_AGGREGATES_OVERALL]),
        last.daily.filter(pc.field("date_kind") == "cohort").cast(schemas[METRIC_AGGREGATES_DAILY]),
        units_of(last.statistics),
        list(last.statistics_notes[WARNINGS]),
    )


def _event_histograms(inputs: SumInputs) -> Histograms:
    """Histograms of the event-level quantiles: counted from all events, or an earlier run's plus what is new.

    New are the new events of known units, and all events of units that have appeared since.
    """
    last, metrics = inputs.last, inputs.metrics
    wanted = {metric.name: i for i, metric in enumerate(metrics) if metric.of_events}
    # Where only mature units count, a unit that matures adds old events, which are not among the new events.
    only_gains = all(m.maturity_in_force == "any" for m in metrics if m.of_events)
    if last is None or last.changed or not only_gains:
        return _histograms(inputs, inputs.cohort, inputs.outcomes)
    known = inputs.cohort.where(~on_dates(last.appeared))
    found = [known_histograms(last.statistics, wanted), _histograms(inputs, known, last.new_events)]
    if last.appeared:
        since = inputs.outcomes.where(not_before("outcome_ts", min(last.appeared)))
        found.append(_histograms(inputs, inputs.cohort.where(on_dates(last.appeared)), since))
    return Histograms.merged(found)


def _histograms(inputs: SumInputs, cohort: DataFrame, outcomes: DataFrame) -> Histograms:
    part = histogram_part(inputs.metrics, inputs.end_ts, inputs.dimensions or ())
    return Histograms.of_sums(inputs.over(cohort, outcomes).run([part])[0])


def _calendar(inputs: SumInputs, counted: pa.Table | None, schema: pa.Schema) -> pa.Table:
    last, known, sums = inputs.last, None, {}
    if last is not None:
        known = KnownSums(known_sums(last.daily, last.calendar_from), last.calendar_from)
    if counted is None and known is not None and known.until is not None:
        later = inputs.outcomes.where(not_before("outcome_ts", known.until))
        part = calendar_part(inputs.metrics, inputs.end_ts, inputs.dimensions or ())
        counted = inputs.over(inputs.cohort, later).run([part])[0]
    if counted is not None:
        sums = event_sums(counted, inputs.metrics, inputs.end_ts)
    return calendar_rows(
        inputs.cohort,
        inputs.metrics,
        sums,
        experiment_id=inputs.experiment_id,
        end_ts=inputs.end_ts,
        cutoff=inputs.cutoff,
        schema=schema,
        known=known,
        excluded=inputs.excluded,
        dimensions=inputs.dimensions,
    )


def _panel(
    inputs: SumInputs, wanted: WantedPanels, known: UnitSums, counted: pa.Table | None, schema: pa.Schema
) -> tuple[pa.Table, dict[str, Any]]:
    last, units, panels, cut = inputs.last, known.units, wanted.panels, wanted.cut
    if not panels:
        return schema.empty_table(), {}
    cohort, outcomes = inputs.cohort, inputs.outcomes
    kept = schema.empty_table()
    if last is not None and cut.same_as(last.panel_notes):
        anew = pc.is_in(last.panel["cohort_date"], pa.array(last.panel_dates, pa.date32()))
        kept = last.panel.filter(pc.invert(anew))
        units = {arm: n for arm, n in units.items() if arm[1] in last.panel_dates}
        cohort, outcomes = _of_dates(cohort, outcomes, last.panel_dates, max(panel.days for panel in panels))
    found = PanelSums({}, {}, {})
    if units:
        if counted is None:
            counted = inputs.over(cohort, outcomes).run([wanted.part(inputs)])[0]
        found = PanelSums(*totals(counted, cut.exponents))
    clusters = units_by_value(known.statistics, inputs.cluster) if inputs.cluster else {}
    taken = panel_rows(inputs.experiment_id, wanted.by_metric, panels, units, clusters, found, schema)
    order = [(name, "ascending") for name in PANEL_ORDER]
    return pa.concat_tables([kept.cast(schema), taken]).sort_by(order), cut.notes()


def _of_dates(cohort: DataFrame, outcomes: DataFrame, dates: frozenset[date], days: int) -> tuple[DataFrame, DataFrame]:
    """The units of the given cohort dates, and the events since the first day of their panels."""
    mine = cohort.where(on_dates(dates))
    first = mine.agg(F.min("assignment_time_utc")).collect()[0][0]
    if first is None:
        return mine, outcomes.where(F.lit(False))
    return mine, outcomes.where(F.col("outcome_ts") >= F.lit(first - timedelta(days=days)))
