"""Compare two versions of a table's rows by fingerprint, at any size and in any order of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exp_platform.lake.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EXAMPLES = 3
EXPLAINED_ROWS = 200_000  # examples are shown up to this many rows, which the driver can hold


@dataclass(frozen=True)
class Fingerprint:
    """The number of rows, and for each answer column a sum of hashes of grain and value."""

    rows: int
    columns: dict[str, int]


@dataclass(frozen=True)
class TableComparison:
    """The comparison of one table then and now; an example reads `key: column: then -> now`."""

    name: str
    rows_then: int = 0
    rows_now: int = 0
    differing: tuple[str, ...] = ()
    examples: tuple[str, ...] = field(default=())
    note: str = ""  # why it was not compared

    @property
    def compared(self) -> bool:
        """True when the rows of the past run could still be read."""
        return not self.note

    @property
    def same(self) -> bool:
        """True when every answer column agrees in every row."""
        return self.compared and self.rows_then == self.rows_now and not self.differing

    def lines(self) -> list[str]:
        """The comparison as lines for a terminal."""
        if not self.compared:
            return [f"  ?      {self.name}: {self.note}"]
        if self.same:
            return [f"  same   {self.name}: {self.rows_now:,} rows"]
        rows = f"{self.rows_then:,} rows then, {self.rows_now:,} now"
        return [
            f"  DIFFER {self.name}: {rows}; columns: {', '.join(self.differing) or 'none'}",
            *(f"         {example}" for example in self.examples),
        ]


def compare(table: Table, then: DataFrame, now: DataFrame) -> TableComparison:
    """Compare the rows by fingerprint; for a small table that differs, show the first rows that differ."""
    before, after = fingerprint(then, table), fingerprint(now, table)
    differing = tuple(c for c in before.columns if before.columns[c] != after.columns[c])
    examples: tuple[str, ...] = ()
    if differing and max(before.rows, after.rows) <= EXPLAINED_ROWS:
        examples = _examples(table, then, now, differing)
    return TableComparison(table.name, before.rows, after.rows, differing, examples)


def fingerprint(frame: DataFrame, table: Table) -> Fingerprint:
    """The fingerprint of rows, from one aggregate; equal rows give equal fingerprints in any order."""
    from pyspark.sql import functions as F

    grain = [F.col(column) for column in table.grain]
    sums = [
        F.sum(F.xxhash64(*grain, _hashable(column, table)).cast("decimal(38,0)")).alias(column)
        for column in table.answer_columns
    ]
    row = frame.agg(F.count(F.lit(1)).alias("_rows"), *sums).first()
    assert row is not None
    return Fingerprint(row["_rows"], {column: int(row[column] or 0) for column in table.answer_columns})


def _hashable(column: str, table: Table) -> Column:
    """The column as Spark can hash it: a map becomes its sorted entries."""
    from pyspark.sql import functions as F

    value = F.col(column)
    return F.array_sort(F.map_entries(value)) if table.types[column].startswith("map<") else value


def _examples(table: Table, then: DataFrame, now: DataFrame, differing: tuple[str, ...]) -> tuple[str, ...]:
    columns = list(dict.fromkeys((*table.grain, *differing)))
    old, new = (_by_key(table, frame.select(*columns)) for frame in (then, now))
    shown: list[str] = []
    for key in sorted(old.keys() | new.keys(), key=str):
        if len(shown) == EXAMPLES:
            break
        name = ", ".join(str(part) for part in key[1:]) or str(key[0])
        if key not in old or key not in new:
            shown.append(f"{name}: {'only now' if key in new else 'only then'}")
            continue
        shown += [f"{name}: {c}: {old[key][c]} -> {new[key][c]}" for c in differing if old[key][c] != new[key][c]]
    return tuple(shown[:EXAMPLES])


def _by_key(table: Table, frame: DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = [row.asDict(recursive=True) for row in frame.collect()]
    return {tuple(row[column] for column in table.grain): row for row in rows}
