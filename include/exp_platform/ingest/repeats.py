"""Rows of each outcome source that repeat another and were dropped: many of them may be events of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exp_platform.lake.publication import publication_seen_at

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable
    from pyspark.sql import Column, DataFrame

    from exp_platform.lake.row_audit import Scope
    from exp_platform.lake.tables import Table

PROPERTY = "repeated_rows"  # of the snapshot that publishes the events
COPIES = "_copies"  # column: how often the event was read
NAME = "metric_name"


@dataclass(frozen=True)
class Repeats:
    """Valid rows of one source in the files now present, and those of them that were dropped."""

    rows: int
    dropped: int

    def __add__(self, other: Repeats) -> Repeats:
        return Repeats(self.rows + other.rows, self.dropped + other.dropped)


def observed(sources: Iterable[str]) -> list[Column]:
    """Sums to observe over the distinct events: for each source its rows and its events."""
    from pyspark.sql import functions as F

    sums = []
    for i, source in enumerate(sources):
        is_it = F.col(NAME) == F.lit(source)
        sums += [F.sum(F.when(is_it, F.col(COPIES))).alias(f"rows{i}"), F.count_if(is_it).alias(f"events{i}")]
    return sums


def from_observed(sources: Iterable[str], seen: Mapping[str, Any]) -> dict[str, Repeats]:
    """The repeats of each source from the observed sums."""
    rows = {source: (seen[f"rows{i}"] or 0, seen[f"events{i}"] or 0) for i, source in enumerate(sources)}
    return {source: Repeats(n, n - events) for source, (n, events) in rows.items()}


def among_new(events: DataFrame, held: DataFrame) -> dict[str, Repeats]:
    """The repeats of each source among new rows, where an event that the table holds already is dropped as well."""
    from pyspark.sql import functions as F

    again = {row[NAME]: row["count"] for row in held.groupBy(NAME).count().collect()}
    found = events.groupBy(NAME).agg(F.sum(COPIES).alias("rows"), F.count(F.lit(1)).alias("events")).collect()
    return {row[NAME]: Repeats(row["rows"], row["rows"] - row["events"] + again.get(row[NAME], 0)) for row in found}


def after(before: Mapping[str, Repeats], new: Mapping[str, Repeats]) -> dict[str, Repeats]:
    """The repeats once new files were added; a source that was not counted before stays uncounted."""
    return {source: known + new.get(source, Repeats(0, 0)) for source, known in before.items()}


def published_with(handle: IcebergTable, table: Table, scope: Scope, snapshot_id: int) -> str | None:
    """The encoded repeats that the events of a scope, as seen at a snapshot, were published with; None without any."""
    seen = publication_seen_at(handle, table, scope, snapshot_id)
    properties = seen.summary.additional_properties if seen is not None and seen.summary else {}
    return properties.get(PROPERTY)


def encode(repeats: Mapping[str, Repeats]) -> str:
    """The repeats as text for the summary of a snapshot."""
    return json.dumps({source: [one.rows, one.dropped] for source, one in sorted(repeats.items())})


def decode(text: str | None) -> dict[str, Repeats]:
    """The repeats that `encode` has written; empty where a snapshot has none.

    >>> decode(encode({"revenue": Repeats(100, 2)}))
    {'revenue': Repeats(rows=100, dropped=2)}
    """
    return {source: Repeats(*pair) for source, pair in json.loads(text or "{}").items()}
