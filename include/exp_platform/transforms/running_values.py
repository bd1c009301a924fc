"""J5: the series of running values: events in windows by Spark, their changes by NumPy, or a day more from today's sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial, reduce
from operator import or_

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.lake.batches import Batches
from exp_platform.metrics.values import DAY_US, hours_us, micros, post_period, unit_values
from exp_platform.sums.scales import Scales
from exp_platform.sums.series_plan import SeriesPlan, Span, has_series
from exp_platform.sums.series_sums import SERIES_SQL, changes, entries
from exp_platform.sums.series_table import EPOCH, in_order, next_rows, series_rows
from exp_platform.sums.series_units import UnitSource
from exp_platform.sums.unit_days import DaySlots
from exp_platform.transforms.earlier_sums import LastRun
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.sql import quoted
from exp_platform.transforms.unit_partials import in_cell, seen_events, unit_windows

@dataclass(frozen=True)
class SeriesInputs:
    """Unit rows as the series reads them, and the first instant of the experiment."""

    entrants: Batches  # unit rows in the columns of `UNIT_COLUMNS`
    units: Callable[[], UnitSource]
    start_ts: datetime


@dataclass(frozen=True)
class Series:
    """The inputs of the series of one run."""

    experiment_id: str
    inputs: SeriesInputs
    cohort: DataFrame
    outcomes: DataFrame
    metrics: Sequence[Metric]
    variants: Sequence[str]
    end_ts: datetime
    cutoff: datetime
    schema: pa.Schema
    far: bool = False
    join: JoinHint = HASH

    def span(self, dates: Iterable[date]) -> Span:
        """The days from the start, or an earlier cohort date, to dt, or the day on which the last window closes."""
        first = min([self.inputs.start_ts.date(), *dates])
        ends = [micros(self.end_ts) + _longest(metric) for metric in self.metrics]
        closes = max(-(-end // DAY_US) - 1 for end in ends)
        return Span((first - EPOCH).days, min(micros(self.cutoff) // DAY_US - 1, closes))

    def plan(self, scales: Scales, span: Span, chosen: Iterable[str]) -> SeriesPlan:
        """The plan for the kernels, for the metrics of some names."""
        periods = tuple(post_period(metric, self.end_ts) for metric in self.metrics)
        return SeriesPlan(tuple(self.metrics), periods, scales, tuple(self.variants), span, frozenset(chosen))

    def counted(self, plan: SeriesPlan) -> pa.Table:
        """Every day of the plan's metrics, from unit rows and events."""
        found = [self.inputs.entrants.collect(partial(entries, plan=plan), SERIES_SQL)]
        values = [(v, plan.periods[i]) for family in plan.families for i, m in family.members for v in unit_values(m)]
        slots = DaySlots.of(values, far=self.far)
        kernel = partial(changes, plan=plan, slots=slots, units=self.inputs.units())
        events = events_in_windows(self.cohort, self.outcomes, slots, self.cutoff, self.join)
        found.append(events.mapInArrow(_named(kernel), SERIES_SQL).toArrow())
        merged = pa.concat_tables([table.cast(found[0].schema) for table in found])
        return series_rows(merged, plan, self.experiment_id, self.schema, far=self.far)


def metric_series(
    series: Series,
    dates: Iterable[date],
    scales: Callable[[], Scales],
    totals: dict[str, pa.Table],
    last: LastRun | None,
) -> tuple[pa.Table, str]:
    """Rows of gold.fct_experiment_metric_series: an earlier run's with one more day, or counted from all events.

    `dates` are the cohort dates, `scales` counts those of the unit rows, `totals` are J5's sums of all units by family;
    these are empty where no unit row has changed. A line for the log comes with the rows.
    """
    names = [metric.name for metric in series.metrics if has_series(metric)]
    span = series.span(dates)
    if not names or span.days <= 0:
        return series.schema.empty_table(), "no metric has a series"
    known = [] if last is None else [name for name in names if _holds(last, name, span, totals, scales, series.metrics)]
    tables = []
    if last is not None and known:
        rows = last.series.filter(pc.is_in(last.series["metric_name"], pa.array(known, pa.string())))
        tables.append(
            _with_last_day(series, rows.cast(series.schema), series.plan(_caps(totals, scales), span, known), totals)
        )
    if len(known) < len(names):
        anew = [name for name in names if name not in known]
        tables.append(series.counted(series.plan(scales(), span, anew)))
    said = f"series: one more day of {len(known)} metrics, all days of {len(names) - len(known)} counted anew"
    return in_order(tables, series.schema), said


def events_in_windows(
    cohort: DataFrame, outcomes: DataFrame, slots: DaySlots, cutoff: datetime, join: JoinHint
) -> DataFrame:
    """One row per event of an included unit inside a window of its source: `f<j>` is true inside the window j.

    Rows of a unit are in the same partition, as the join puts them there.
    """
    sources = slots.sources
    flags = [
        reduce(or_, (in_cell(s, slots.windows[s][j]) for s in sources if j < len(slots.windows[s])))
        for j in range(slots.width)
    ]
    events = seen_events(outcomes, sources, cutoff)
    joined = events_of_units(unit_windows(cohort), events, join).where(reduce(or_, flags))
    cases = " ".join(f"when {quoted(name)} then {i}" for i, name in enumerate(sources))
    source = F.expr(f"case metric_name {cases} end").alias("source")
    return joined.select(
        "user_id", source, "event_us", "value", *(flag.alias(f"f{j}") for j, flag in enumerate(flags))
    )


def _named(
    kernel: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function of its own, because Spark asks a mapped function for its name."""

    def of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return kernel(batches)

    return of_partition


def _longest(metric: Metric) -> int:
    """Microseconds after the end of the experiment in which a window may still be open."""
    window = metric.window
    return 0 if window.end_hours == "experiment" or window.truncate_at_end else hours_us(float(window.end_hours))


def _holds(
    last: LastRun,
    name: str,
    span: Span,
    totals: dict[str, pa.Table],
    scales: Callable[[], Scales],
    metrics: Sequence[Metric],
) -> bool:
    """True where an earlier run's days of a metric stand and only the last day is new."""
    today = EPOCH + timedelta(days=span.last)
    rows = last.series.filter(pc.field("metric_name") == name)
    if not rows.num_rows or last.changed or any(day < today for day in last.appeared):
        return False
    if (EPOCH + timedelta(days=span.first)) != pc.min(rows["as_of"]).as_py():
        return False
    known = pc.max(rows["as_of"]).as_py()
    only_today = known >= today - timedelta(days=1) and (last.first_day is None or last.first_day >= today)
    if last.same_units:
        return only_today or last.first_day is None
    if not only_today:
        return False
    i = [metric.name for metric in metrics].index(name)
    caps = tuple(rows[column][0].as_py() for column in ("cap", "cap_denominator"))
    return caps == (scales().cap(f"y{i}"), scales().cap(f"y{i}_1"))


def _with_last_day(series: Series, rows: pa.Table, plan: SeriesPlan, totals: dict[str, pa.Table]) -> pa.Table:
    """The rows of the days before, and those of the days since: from the totals, or without a change."""
    today = EPOCH + timedelta(days=plan.span.last)
    if totals:
        before = rows.filter(pc.field("as_of") < pa.scalar(today))
        return pa.concat_tables([before, next_rows(before, totals, plan, series.experiment_id, series.schema)])
    return pa.concat_tables([rows.filter(pc.field("as_of") <= pa.scalar(today)), *_quiet_days(rows, today)])


def _quiet_days(rows: pa.Table, today: date) -> list[pa.Table]:
    """The rows of the days after the last known one on which no unit has changed: those of the last day, with zeros."""
    known = pc.max(rows["as_of"]).as_py()
    newest = rows.filter(pc.field("as_of") == pa.scalar(known))
    columns = {}
    for field in newest.schema:
        column = newest[field.name].combine_chunks()
        if pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type):
            column = pa.ListArray.from_arrays(column.offsets, pa.array(np.zeros(len(column.values))))
        elif field.name in _CHANGES:
            column = pc.if_else(column.is_valid(), pa.scalar(0, column.type), pa.scalar(None, column.type))
        columns[field.name] = column
    zeros = pa.table(columns, schema=newest.schema)
    found = []
    for number in range(1, (today - known).days + 1):
        day = pa.array([known + timedelta(days=number)] * zeros.num_rows, pa.date32())
        found.append(zeros.set_column(zeros.schema.get_field_index("as_of"), zeros.schema.field("as_of"), day))
    return found


_CHANGES = ("n", "n_null", "n_mature", "n_x", "with_denominator", "y", "yy", "yyy", "d", "dd", "yd")


def _caps(totals: dict[str, pa.Table], scales: Callable[[], Scales]) -> Scales:
    return scales() if totals else Scales(0, {})
