"""J5: the series of running values: changes by NumPy from the pass over events, or one more day from today's sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.models import Metric
from exp_platform.lake.batches import Batches
from exp_platform.metrics.values import DAY_US, hours_us, micros, post_period, unit_values
from exp_platform.sums.scales import Scales
from exp_platform.sums.series_plan import SeriesPlan, Span, has_series
from exp_platform.sums.series_sums import SERIES_SCHEMA, SERIES_SQL, Changes, entries, series_cells
from exp_platform.sums.series_table import EPOCH, in_order, next_rows, series_rows
from exp_platform.sums.series_units import UnitSource
from exp_platform.sums.unit_days import DaySlots
from exp_platform.transforms.earlier_sums import LastRun
from exp_platform.transforms.event_pass import EventPart


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
    metrics: Sequence[Metric]
    variants: Sequence[str]
    end_ts: datetime
    cutoff: datetime
    schema: pa.Schema
    far: bool = False

    def span(self, dates: Iterable[date]) -> Span:
        """The days from the start, or an earlier cohort date, to dt, or the day on which the last window closes."""
        first = min([self.inputs.start_ts.date(), *dates])
        ends = [micros(self.end_ts) + _longest(metric) for metric in self.metrics]
        closes = max(-(-end // DAY_US) - 1 for end in ends)
        return Span((first - EPOCH).days, min(micros(self.cutoff) // DAY_US - 1, closes))

    @property
    def names(self) -> list[str]:
        """The metrics that have a series."""
        return [metric.name for metric in self.metrics if has_series(metric)]

    def plan(self, scales: Scales, span: Span, chosen: Iterable[str]) -> SeriesPlan:
        """The plan for the kernels, for the metrics of some names."""
        periods = tuple(post_period(metric, self.end_ts) for metric in self.metrics)
        return SeriesPlan(tuple(self.metrics), periods, scales, tuple(self.variants), span, frozenset(chosen))

    def part(self, plan: SeriesPlan) -> EventPart:
        """The changes of the plan's metrics, as a part of a pass over events."""
        values = [(v, plan.periods[i]) for family in plan.families for i, m in family.members for v in unit_values(m)]
        slots = DaySlots.of(values, far=self.far)
        kernel = partial(Changes, plan, slots, self.inputs.units())
        return EventPart(series_cells(slots), ("user_id",), kernel, SERIES_SCHEMA)

    def counted(self, plan: SeriesPlan, changes: pa.Table) -> pa.Table:
        """Every day of the plan's metrics, from unit rows and the changes that events make."""
        entered = self.inputs.entrants.collect(partial(entries, plan=plan), SERIES_SQL)
        merged = pa.concat_tables([entered, changes.cast(entered.schema)])
        return series_rows(merged, plan, self.experiment_id, self.schema, far=self.far)


def metric_series(
    series: Series,
    dates: Iterable[date],
    scales: Callable[[], Scales],
    totals: dict[str, pa.Table],
    last: LastRun | None,
    changes: Callable[[SeriesPlan], pa.Table],
) -> tuple[pa.Table, str]:
    """Rows of gold.fct_experiment_metric_series: an earlier run's with one more day, or counted from all events.

    `dates` are the cohort dates, `scales` counts those of the unit rows, `totals` are J5's sums of all units by family;
    these are empty where no unit row has changed. `changes` counts those that all events make. A line for the log comes
    with the rows.
    """
    names, span = series.names, series.span(dates)
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
        plan = series.plan(scales(), span, anew)
        tables.append(series.counted(plan, changes(plan)))
    said = f"series: one more day of {len(known)} metrics, all days of {len(names) - len(known)} counted anew"
    return in_order(tables, series.schema), said


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
