"""Sums of an earlier run that J5 reuses, so that the events they count need not be read again.

The panel of a cohort date covers days before the assignment, and a calendar sum one day: both hold while the units are
the same and no new event lies in these days. A histogram only grows: counts of new events are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.values import DAY_US
from exp_platform.sums.group_sums import GROUP
from exp_platform.sums.histograms import Histograms, bins_of
from exp_platform.transforms.joins import JoinHint, events_of_units
from exp_platform.transforms.unit_partials import seen_events, unit_windows

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class LastRun:
    """The tables of an earlier run, and the changes since: new events and changed cohort dates."""

    statistics: pa.Table  # like the next three, this experiment's rows as the earlier run published them
    overall: pa.Table
    daily: pa.Table
    panel: pa.Table
    statistics_notes: dict[str, Any]
    panel_notes: dict[str, Any]  # see `PanelCut`
    series: pa.Table  # rows of the series of running values
    same_units: bool  # True when the unit rows are the same as then, to the last number
    appended: DataFrame  # rows of exp.outcomes in files that were appended since
    new_events: DataFrame  # events that the earlier run did not see: appended since, or after its cut-off
    appeared: frozenset[date]  # cohort dates that had no unit then
    changed: frozenset[date]  # cohort dates that had other units then
    before_assignment: frozenset[date]  # cohort dates with a new event in the days of a panel
    first_day: date | None  # UTC day of the first new event

    @property
    def panel_dates(self) -> frozenset[date]:
        """Cohort dates whose panels must be computed again."""
        return self.appeared | self.changed | self.before_assignment

    @property
    def calendar_from(self) -> date | None:
        """The first day whose calendar sums must be computed again; None when all of them hold."""
        days = [*self.appeared, *self.changed, *([self.first_day] if self.first_day else [])]
        return min(days, default=None)


def reach_of_new_events(
    cohort: DataFrame, new_events: DataFrame, sources: list[str], days: int, cutoff: datetime, join: JoinHint
) -> tuple[frozenset[date], date | None]:
    """Cohort dates with a new event in the `days` days before assignment, and the UTC day of the first new event."""
    seen = seen_events(new_events, sources, cutoff)
    first = seen.agg(F.min("event_us")).collect()[0][0]
    if first is None:
        return frozenset(), None
    before = F.col("event_us") - F.col("assignment_us")
    joined = events_of_units(unit_windows(cohort, "cohort_date"), seen, join)
    dates = joined.where((before < 0) & (before >= F.lit(-days * DAY_US))).select("cohort_date").distinct().collect()
    return frozenset(row["cohort_date"] for row in dates), EPOCH + timedelta(microseconds=first)


def known_sums(daily: pa.Table, until: date | None) -> dict[tuple[str, str, str, date], tuple[float, float | None]]:
    """Calendar sums and denominator sums by metric × arm × segment × day, of the days before `until`, or all."""
    mine = daily.filter(pc.field("date_kind") == "calendar")
    if until is not None:
        mine = mine.filter(pc.field("date") < pa.scalar(until))
    names = ("metric_name", "variant_id", "segment", "date", "sum", "denominator_sum")
    return {tuple(row[:4]): tuple(row[4:]) for row in zip(*(mine[name].to_pylist() for name in names), strict=True)}


def known_histograms(statistics: pa.Table, numbers: dict[str, int]) -> Histograms:
    """Histograms by group of some metrics, whose numbers are given by name."""
    mine = statistics.filter(pc.is_in(statistics["metric_name"], pa.array(list(numbers), pa.string())))
    rows = zip(*(mine[name].to_pylist() for name in ("metric_name", *GROUP[1:])), strict=True)
    columns = [mine[name] for name in ("histogram", "histogram_lows", "histogram_highs")]
    return Histograms.of_lists([(numbers[name], *group) for name, *group in rows], bins_of(*columns))
