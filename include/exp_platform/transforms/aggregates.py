"""J5: sums of the events inside the windows by calendar day, for metrics that add up over days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import DAY_US, Period, UnitValue, micros, post_period, unit_values
from exp_platform.sums.calendar_sums import CALENDAR_SCHEMA, CalendarSums, calendar_totals
from exp_platform.sums.event_columns import Cell
from exp_platform.sums.group_sums import ALL
from exp_platform.sums.statistics_table import as_table
from exp_platform.transforms.cohort import dimension_columns, dimension_names, dimensions_of
from exp_platform.transforms.event_pass import EventPart
from exp_platform.transforms.excluded import touches
from exp_platform.transforms.unit_partials import unit_windows
from exp_platform.transforms.windows import period_end, period_start


@dataclass(frozen=True)
class KnownSums:
    """Sums of an earlier run that still hold, by metric × arm × segment × day: of the days before `until`, or all."""

    sums: Mapping[tuple[str, str, str, date], tuple[float, float | None]]
    until: date | None


Calendar = tuple[tuple[Metric, tuple[UnitValue, ...]], ...]
Sums = dict[tuple[str, str, str, date], float]  # by key × arm × segment × day
EPOCH = date(1970, 1, 1)


def calendar_metrics(metrics: Sequence[Metric]) -> Calendar:
    """The metrics whose values are sums over days: sum, count, and ratios of them."""
    found = ((metric, unit_values(metric)) for metric in metrics if metric.estimand != "quantile")
    return tuple((m, v) for m, v in found if v and all(part.traits.adds_up_over_days for part in v))


def calendar_rows(
    cohort: DataFrame,
    metrics: Sequence[Metric],
    counted: Sums,
    *,
    experiment_id: str,
    end_ts: datetime,
    cutoff: datetime,
    schema: pa.Schema,
    known: KnownSums | None = None,
    excluded: Sequence[date] = (),
    dimensions: Sequence[str] | None = None,
) -> pa.Table:
    """Rows of exp.metric_aggregates_daily with date_kind `calendar`: uncapped sums of events by UTC day.

    n counts the included units whose window is open on some of the day; a day without an open window has no row. Sums
    of squares and of covariates are null: they need each unit's total and do not add up over days. A unit whose window
    holds some of an `excluded` date is in none of the metric's rows. `counted` are the sums that `known` does not have.
    Where `dimensions` are not given, they are looked up in the cohort.
    """
    wanted = calendar_metrics(metrics)
    if not wanted:
        return schema.empty_table()
    names = dimension_names(cohort) if dimensions is None else dimensions
    units = unit_windows(cohort, "variant_id", *dimension_columns(names))
    periods = tuple(dict.fromkeys(post_period(metric, end_ts) for metric, _ in wanted))
    open_units = units_at_risk(units, names, periods, cutoff, excluded)
    sums = ({} if known is None else _by_part(known, wanted)) | counted
    columns: dict[str, list[Any]] = defaultdict(list)
    for metric, parts in wanted:
        for (variant, segment, day), n in sorted(open_units[periods.index(post_period(metric, end_ts))].items()):
            values = [sums.get((part.key, variant, segment, day), 0.0) for part in parts]
            row = {
                "experiment_id": experiment_id, "metric_name": metric.name, "variant_id": variant, "segment": segment,
                "date_kind": "calendar", "date": day, "n": n, "n_null": 0, "sum": values[0],
                "denominator_sum": values[1] if len(values) > 1 else None,
            }  # fmt: skip
            for name, value in row.items():
                columns[name].append(value)
    return as_table(columns, schema) if columns else schema.empty_table()


def _by_part(known: KnownSums, wanted: Calendar) -> Sums:
    parts = {metric.name: own for metric, own in wanted}
    return {
        (part.key, variant, segment, day): value
        for (name, variant, segment, day), values in known.sums.items()
        for part, value in zip(parts[name], values, strict=False)
        if value is not None
    }


def calendar_part(metrics: Sequence[Metric], end_ts: datetime, dimensions: Sequence[str] = ()) -> EventPart:
    """The sums of events by arm × segment × day, as a part of the pass over events."""
    cells = tuple(dict.fromkeys(_cell(part, end_ts) for _, own in calendar_metrics(metrics) for part in own))
    return EventPart(cells, ("variant_id",), partial(CalendarSums, cells), CALENDAR_SCHEMA, tuple(dimensions))


def event_sums(rows: pa.Table, metrics: Sequence[Metric], end_ts: datetime) -> Sums:
    """Sum, or count, of the events in the window, by key × arm × segment × day, from the rows of `calendar_part`."""
    totals = calendar_totals(rows, calendar_part(metrics, end_ts).cells)
    return {
        (part.key, variant, segment, _date(day)): float(n) if part.aggregation == "count" else total
        for _, own in calendar_metrics(metrics)
        for part in own
        for (variant, segment, day), (n, total) in totals[_cell(part, end_ts)].items()
    }


def _cell(part: UnitValue, end_ts: datetime) -> Cell:
    return Cell(part.source, post_period(part.metric, end_ts), usable=True)


def units_at_risk(
    units: DataFrame, names: Sequence[str], periods: Sequence[Period], cutoff: datetime, excluded: Sequence[date] = ()
) -> list[dict[tuple[str, str, date], int]]:
    """For each window: number of units, by arm × segment × day, whose window is open on some of that day."""
    found: list[dict[tuple[str, str, date], int]] = [defaultdict(int) for _ in periods]
    for row in open_spans(units, names, periods, cutoff, excluded).collect():
        known = [f"{name}={row[f'd{i}']}" for i, name in enumerate(names) if row[f"d{i}"] is not None]
        for day in range(row["first"], row["last"] + 1):
            for segment in (ALL, *known):
                found[row["period"]][row["variant_id"], segment, _date(day)] += row["count"]
    return found


def open_spans(
    units: DataFrame, names: Sequence[str], periods: Sequence[Period], cutoff: datetime, excluded: Sequence[date] = ()
) -> DataFrame:
    """One row per arm × dimensions × window × first and last day on which it is open, with its count of units."""
    known = dimensions_of(names)
    spans = [
        F.struct(
            F.lit(i).alias("period"),
            _first(period, excluded).alias("first"),
            (F.least(period_end(period), F.lit(micros(cutoff))) - 1).alias("last"),
        )
        for i, period in enumerate(periods)
    ]
    opened = units.select("variant_id", *known, F.inline(F.array(*spans))).where("last >= first")
    first, last = (_day(F.col(name)).alias(name) for name in ("first", "last"))
    return opened.groupBy("variant_id", *known, "period", first, last).count()


def _first(period: Period, excluded: Sequence[date]) -> Column:
    """The window's first instant; null, so that there is no span, where the window holds some of an excluded date."""
    start = period_start(period)
    return F.when(~touches(period, excluded), start) if excluded else start


def _day(instant: Column) -> Column:
    return F.floor(instant / F.lit(float(DAY_US))).cast("int")


def _date(day: int) -> date:
    return EPOCH + timedelta(days=day)
