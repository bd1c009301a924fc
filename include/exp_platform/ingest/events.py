"""Distinct events: exact duplicates count once, also when one of them was read by an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from exp_platform.ingest.dataset_sources import EVENT_ID
from exp_platform.ingest.repeats import COPIES
from exp_platform.ingest.result import FILE
from exp_platform.lake.catalog import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BUCKETS = 4  # buckets of the exp.* tables, by user_id
DAY = 86_400_000_000  # in microseconds
_TASK = "_task"
ROWS_PER_TASK = 250_000  # so many rows one task can group in a small heap without spilling to disk


def distinct_events(rows: DataFrame, columns: Sequence[str], total_rows: int) -> DataFrame:
    """One row per distinct event, with the smallest index among the files that hold it, and how often it was read.

    One shuffle serves both the group-by and the write: a task gets all rows of its users, and users of one bucket of
    `exp.*` only.
    """
    per_bucket = max(1, -(-total_rows // (ROWS_PER_TASK * BUCKETS)))
    task = F.expr(f"{CATALOG}.system.bucket({BUCKETS}, user_id) * {per_bucket} + pmod(hash(user_id), {per_bucket})")
    together = rows.withColumn(_TASK, task).repartitionById(BUCKETS * per_bucket, F.col(_TASK))
    copies = F.count(F.lit(1)).alias(COPIES)
    return together.groupBy(_TASK, *columns).agg(F.min(FILE).alias(FILE), copies).drop(_TASK)


def already_held(new: DataFrame, existing: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The new events that the table holds already, with the file that they came from (`held_by`)."""
    held = existing.select(*columns, F.col("source_file").alias("held_by"))
    if EVENT_ID not in columns:
        return new.join(held, list(columns), "inner")
    return new.alias("new").join(held.alias("held"), _alike(columns), "inner").select("new.*", "held.held_by")


def not_held(new: DataFrame, held: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The new events that the table does not hold yet."""
    if EVENT_ID not in columns:
        return new.join(held.select(*columns), list(columns), "left_anti")
    return new.alias("new").join(held.select(*columns).alias("held"), _alike(columns), "left_anti")


def _alike(columns: Sequence[str]) -> Column:
    """True for two events that agree in every column; no id is an id that both may lack."""
    pairs = [(F.col(f"new.{column}"), F.col(f"held.{column}")) for column in columns]
    same = [a.eqNullSafe(b) if column == EVENT_ID else a == b for column, (a, b) in zip(columns, pairs, strict=True)]
    return reduce(and_, same)


def with_run_columns(
    events: DataFrame,
    columns: Sequence[str],
    paths: Sequence[str],
    now: datetime,
    *,
    constants: Mapping[str, str] | None = None,
    sort: Sequence[str] = ("user_id",),
) -> DataFrame:
    """The events with the contract's columns, source_file and ingested_at, sorted as the files of `exp.*` are."""
    return events.sortWithinPartitions(*sort).select(
        *(F.lit(value).alias(column) for column, value in (constants or {}).items()),
        *(F.col(c) if c in events.columns else F.lit(None).cast("string").alias(c) for c in columns),
        path_of(paths).alias("source_file"),
        F.lit(now).alias("ingested_at"),
    )


def path_of(paths: Sequence[str]) -> Column:
    """The path of a row's file, from the file's index."""
    return F.element_at(F.array(*(F.lit(path) for path in paths)).cast("array<string>"), F.col(FILE) + 1)


def on_days(time: Column, days: Iterable[date]) -> Column:
    """True when a time lies on one of the days; consecutive days become one range, by which Spark skips files."""
    # Compared with microseconds: a Python time as literal is read in the Julian calendar before 1582, and ends in 9999.
    within = [
        (time >= F.timestamp_micros(F.lit(start * DAY))) & (time < F.timestamp_micros(F.lit(end * DAY)))
        for start, end in day_ranges(days)
    ]
    return reduce(or_, within, F.lit(False))


def day_ranges(days: Iterable[date]) -> list[tuple[int, int]]:
    """The fewest half-open ranges, in days since 1970, that cover exactly the given days.

    >>> day_ranges([date(1970, 1, 3), date(1970, 1, 2), date(1970, 1, 9)])
    [(1, 3), (8, 9)]
    """
    ranges: list[tuple[int, int]] = []
    for number in sorted({(day - date(1970, 1, 1)).days for day in days}):
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return ranges
