"""Read the footers of Parquet files: columns, types and number of rows, before Spark opens the files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DataType, DecimalType, IntegerType, LongType, NullType, StringType, TimestampType

from exp_platform.ingest.engine_errors import is_of_the_store

_SAME: dict[pa.DataType, DataType] = {  # types that Spark has under another name
    pa.string_view(): StringType(),
    pa.uint8(): IntegerType(),
    pa.uint16(): IntegerType(),
    pa.uint32(): LongType(),
    pa.uint64(): DecimalType(20, 0),
}

_MOST_DIGITS = 38


@dataclass(frozen=True)
class ColumnType:
    """One column's type: as Spark reads it, and as the file names it."""

    spark: DataType | None  # None: Spark cannot read it
    shown: str
    is_nanoseconds: bool = False  # read as a long


@dataclass(frozen=True)
class Footer:
    """The columns and number of rows of one file."""

    path: str
    columns: dict[str, ColumnType]
    rows: int
    names: tuple[str, ...] = ()  # as they are in the file, repeats included

    def not_told_apart(self, wanted: Sequence[str] | None) -> list[str]:
        """The wanted columns whose names differ only in small and capital letters; Spark takes them for one column.

        >>> Footer("a", {}, 0, ("user_id", "value", "USER_ID", "note", "Note")).not_told_apart(["user_id", "value"])
        ['user_id', 'USER_ID']
        """
        counted = Counter(name.lower() for name in self.names)
        asked = counted.keys() if wanted is None else {name.lower() for name in wanted}
        return [name for name in self.names if counted[name.lower()] > 1 and name.lower() in asked]

    def signature(self, names: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
        """The names and types of the given columns, or of all: files with one signature can be read together."""
        wanted = self.columns if names is None else {n: self.columns[n] for n in names if n in self.columns}
        return tuple((name, f"{column.spark}/{column.is_nanoseconds}") for name, column in sorted(wanted.items()))


def read_footers(files: fs.FileSystem, places: Sequence[tuple[str, str]]) -> tuple[list[Footer], dict[str, str]]:
    """The footers, and path -> reason for every file that can't be read.

    A place is a pair: the path as people see it, and the path in the file system `files`.
    """

    def one(place: tuple[str, str]) -> Footer | str:
        try:
            with files.open_input_file(place[1]) as opened:
                return _footer(place[0], pq.ParquetFile(opened))
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:  # a name that is no text is a ValueError
            if is_of_the_store(str(error)):
                raise
            return str(error).splitlines()[0]

    with ThreadPoolExecutor(max_workers=8) as pool:
        read = list(pool.map(one, places))
    footers = [footer for footer in read if isinstance(footer, Footer)]
    broken = {shown: reason for (shown, _), reason in zip(places, read, strict=True) if isinstance(reason, str)}
    return footers, broken


def group_alike(footers: Sequence[Footer], names: Sequence[str] | None) -> list[list[Footer]]:
    """Groups of files that Spark can read with one schema, ordered by their first paths."""
    groups: dict[tuple[tuple[str, str], ...], list[Footer]] = defaultdict(list)
    for footer in sorted(footers, key=lambda f: f.path):
        groups[footer.signature(names)].append(footer)
    return list(groups.values())


def _footer(path: str, parquet: pq.ParquetFile) -> Footer:
    physical = {}
    for i in range(len(parquet.schema)):
        column = parquet.schema.column(i)
        physical[column.path] = column.physical_type
    columns = {field.name: _column_type(field.type, physical.get(field.name)) for field in parquet.schema_arrow}
    return Footer(path, columns, parquet.metadata.num_rows, tuple(parquet.schema_arrow.names))


def _column_type(kind: pa.DataType, physical: str | None) -> ColumnType:
    if physical == "INT96":  # Spark reads such a column as times with microseconds
        return ColumnType(TimestampType(), "int96")
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return ColumnType(LongType(), str(kind), is_nanoseconds=True)
    if pa.types.is_null(kind):
        return ColumnType(NullType(), "null")
    if kind in _SAME:
        return ColumnType(_SAME[kind], str(kind))
    if _is_beyond_spark(kind):
        return ColumnType(None, str(kind))
    try:
        return ColumnType(from_arrow_type(kind, prefer_timestamp_ntz=True), str(kind))
    except PySparkException:
        return ColumnType(None, str(kind))


def _is_beyond_spark(kind: pa.DataType) -> bool:
    """True for a type that Spark accepts in a schema and then can't read, also inside a nested type."""
    if pa.types.is_time(kind) or (pa.types.is_decimal(kind) and kind.precision > _MOST_DIGITS):
        return True
    return any(_is_beyond_spark(kind.field(i).type) for i in range(kind.num_fields))
