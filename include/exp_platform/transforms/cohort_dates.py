"""The cohort dates whose unit rows change from one day to the next; the unit rows of all other dates are reused.

A date changes when its units change, when a unit has a new event in a window, or when a window opens or matures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.lake.row_audit import Part
from exp_platform.metrics.values import DAY_US, Period, micros, post_period
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.unit_partials import Layout, in_cell, unit_windows

EXCLUDED = "excluded"  # in place of a cohort date, which an excluded user does not have
Digests = dict[str, str]


def cohort_digests(cohort: DataFrame) -> Digests:
    """Cohort date -> number of users and sum of row hashes: equal digests mean equal rows."""
    user = F.xxhash64(
        "user_id",
        "variant_id",
        F.unix_micros("assignment_time_utc"),
        F.unix_micros("anchor_utc"),
        "exclusion_reason",
        F.to_json("dimensions"),
    )
    by_date = cohort.groupBy(F.coalesce(F.col("cohort_date").cast("string"), F.lit(EXCLUDED)).alias("date"))
    rows = by_date.agg(F.count(F.lit(1)).alias("users"), F.sum(user.cast("decimal(38,0)")).alias("digest")).collect()
    return {row["date"]: f"{row['users']}:{row['digest']}" for row in rows}


def dates_of_units(digests: Iterable[str]) -> frozenset[date]:
    """The cohort dates of included users among the keys of the digests."""
    return frozenset(date.fromisoformat(day) for day in digests if day != EXCLUDED)


def other_dates(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[frozenset[date], frozenset[date]]:
    """Cohort dates that are new, and cohort dates whose units have changed or are gone."""
    differing = {day for day in then.keys() | now.keys() if then.get(day) != now.get(day)}
    return dates_of_units(differing - then.keys()), dates_of_units(differing & then.keys())


def dates_with_events(
    cohort: DataFrame, events: DataFrame, layout: Layout, *, join: JoinHint = HASH
) -> frozenset[date]:
    """Cohort dates of the units that have one of these events in any window; `events` come from `seen_events`."""
    joined = events_of_units(unit_windows(cohort, "cohort_date"), events, join)
    counts = reduce(or_, (in_cell(source, period) for source, period in layout.cells), F.lit(False))
    return frozenset(row["cohort_date"] for row in joined.where(counts).select("cohort_date").distinct().collect())


def dates_that_turn(
    dates: Iterable[date], metrics: Sequence[Metric], *, end_ts: datetime, before: datetime, now: datetime
) -> frozenset[date]:
    """Cohort dates with units whose window of a metric may have opened or matured between two cut-offs."""
    periods = {post_period(metric, end_ts) for metric in metrics}
    return frozenset(
        day for day in dates if any(_turns(period, day, micros(before), micros(now)) for period in periods)
    )


def on_dates(dates: Iterable[date]) -> Column:
    """Condition that is true for units of the given cohort dates."""
    return Part("cohort_date", frozenset(dates)).holds()


def events_since_first_window(cohort: DataFrame, outcomes: DataFrame, layout: Layout) -> DataFrame:
    """The outcome events since the earliest start of any window of these units; older files are not read."""
    first = unit_windows(cohort).agg(F.min("assignment_us").alias("first")).collect()[0]["first"]
    if first is None:
        return outcomes.where(F.lit(False))
    start = first - max((reach(layout, first)), default=0)
    return outcomes.where(F.col("outcome_ts") >= F.timestamp_micros(F.lit(start)))


def _turns(period: Period, day: date, before: int, now: int) -> bool:
    first = micros(datetime.combine(day, time(), UTC))
    last = first + DAY_US - 1
    # A window is open when it begins before the cut-off, and mature when it has ended by the cut-off.
    opens = max(first + period.start_us, before) < min(last + period.start_us + 1, now)
    return opens or max(_end(period, first) - 1, before) < min(_end(period, last), now)


def _end(period: Period, anchor: int) -> int:
    ends = [period.not_after_us] if period.end_us is None else [anchor + period.end_us, period.not_after_us]
    return min(end for end in ends if end is not None)


def reach(layout: Layout, first_us: int) -> list[int]:
    """The longest time before assignment, in microseconds, at which each period may begin."""
    reach = []
    for period in {slot.period for slot in layout.slots}:
        if period.kind == "covariate":
            reach.append(period.start_us)
        elif period.kind == "did_pre":
            end = period.end_us if period.end_us is not None else (period.not_after_us or 0) - first_us
            reach.append(max(end - period.start_us, 0))
    return reach
