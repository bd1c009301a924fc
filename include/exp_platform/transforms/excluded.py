"""Days that can't be used, as conditions on events and users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.values import DAY_US, HOUR_US, Period, micros
from exp_platform.transforms.windows import period_end, period_start


def spans(dates: Iterable[date]) -> list[tuple[int, int]]:
    """Half-open spans of the dates in epoch microseconds; neighbouring dates share one.

    >>> spans([date(1970, 1, 2), date(1970, 1, 3), date(1970, 1, 5)])
    [(86400000000, 259200000000), (345600000000, 432000000000)]
    """
    found: list[tuple[int, int]] = []
    for start in sorted({micros(datetime.combine(day, time(), UTC)) for day in dates}):
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], start + DAY_US
        else:
            found.append((start, start + DAY_US))
    return found


def lies_on(event_time: Column, dates: Sequence[date]) -> Column:
    """True for a time on one of the dates."""
    us = F.unix_micros(event_time)
    return reduce(or_, ((us >= F.lit(start)) & (us < F.lit(end)) for start, end in spans(dates)), F.lit(False))


def usable(events: DataFrame, time_column: str, dates: Sequence[date]) -> DataFrame:
    """The events that do not lie on one of the dates; without dates the frame itself."""
    return events.where(~lies_on(F.col(time_column), dates)) if dates else events


def touches(period: Period, dates: Sequence[date]) -> Column:
    """True where a unit's window holds some of one of the dates, whether or not that day has come."""
    return overlaps(period_start(period), period_end(period), dates)


def overlaps(start: Column, end: Column, dates: Sequence[date]) -> Column:
    """True where [start, end), in epoch microseconds, is not empty and holds some of one of the dates."""
    held = ((start < F.lit(last)) & (end > F.lit(first)) for first, last in spans(dates))
    return (start < end) & reduce(or_, held, F.lit(False))


def exposure_unknown(dates: Sequence[date], *, end_ts: datetime, exposure_window_hours: int | None) -> Column:
    """True for a validly assigned user who may have been exposed first on one of the dates.

    An excluded day lies in the user's exposure window, and no valid exposure before it says when the user was exposed.
    Needs the columns `assignment_time_utc` and `first_valid_exposure_utc`.
    """
    assigned, end = F.unix_micros("assignment_time_utc"), F.lit(micros(end_ts))
    if exposure_window_hours is not None:
        end = F.least(assigned + F.lit(exposure_window_hours * HOUR_US), end)
    known_from = F.unix_micros("first_valid_exposure_utc")
    return F.coalesce(overlaps(assigned, F.least(end, known_from), dates), F.lit(False))
