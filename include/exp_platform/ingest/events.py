"""Distinct events: exact duplicates count once, within the files that are read and against those read before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from exp_platform.ingest.read import FILE
from exp_platform.lake.catalog import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BUCKETS = 4  # of exp.*, by user_id
_TASK = "_task"
ROWS_PER_TASK = 250_000  # what one task groups without spilling in a small heap


def distinct_events(rows: DataFrame, columns: Sequence[str], total_rows: int) -> DataFrame:
    """One row per distinct event, with the smallest index of a file that holds it.

    One exchange brings the rows of a user, and of one bucket of `exp.*` only, into one task: the group-by and the
    write need no other.
    """
    per_bucket = max(1, -(-total_rows // (ROWS_PER_TASK * BUCKETS)))
    task = F.expr(f"{CATALOG}.system.bucket({BUCKETS}, user_id) * {per_bucket} + pmod(hash(user_id), {per_bucket})")
    together = rows.withColumn(_TASK, task).repartitionById(BUCKETS * per_bucket, F.col(_TASK))
    return together.groupBy(_TASK, *columns).agg(F.min(FILE).alias(FILE)).drop(_TASK)


def already_held(new: DataFrame, existing: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The new events that the table holds, with the path there (`held_by`)."""
    held = existing.select(*columns, F.col("source_file").alias("held_by"))
    return new.join(held, list(columns), "inner")


def not_held(new: DataFrame, held: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The new events that are not among the held ones."""
    return new.join(held.select(*columns), list(columns), "left_anti")


def with_run_columns(events: DataFrame, columns: Sequence[str], paths: Sequence[str], now: datetime) -> DataFrame:
    """The columns of `exp.*`, sorted as its files are: the contract's, source_file, ingested_at."""
    return events.sortWithinPartitions("user_id").select(
        *columns, path_of(paths).alias("source_file"), F.lit(now).alias("ingested_at")
    )


def path_of(paths: Sequence[str]) -> Column:
    """The path of a row's file, from the file's index."""
    return F.element_at(F.array(*(F.lit(path) for path in paths)).cast("array<string>"), F.col(FILE) + 1)


def on_days(time: Column, days: Iterable[date]) -> Column:
    """Whether a time lies on one of the days; runs of days become one range, which prunes data files."""
    within = [(time >= F.lit(start)) & (time < F.lit(end)) for start, end in day_ranges(days)]
    return reduce(or_, within, F.lit(False))


def day_ranges(days: Iterable[date]) -> list[tuple[datetime, datetime]]:
    """Half-open UTC ranges that cover just the days, as few as possible.

    >>> [(a.day, b.day) for a, b in day_ranges([date(2026, 1, 3), date(2026, 1, 2), date(2026, 1, 9)])]
    [(2, 4), (9, 10)]
    """
    ranges: list[tuple[datetime, datetime]] = []
    for day in sorted(set(days)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges
