"""Rows as Arrow batches inside Spark's tasks: a kernel runs over each part, and only its result comes back.

Arrow itself reads a published table's Parquet files in the tasks: a million unit rows with their maps cost about one
second of processor time, where Spark's reader, row by row, costs seven.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io import FileIO
from pyiceberg.table import Table as IcebergTable

from exp_platform.lake.filters import matching
from exp_platform.lake.tables import Table
from exp_platform.lake.tables.declare import bucket_of
from exp_platform.lake.types import arrow_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
ROWS = 50_000  # rows of a batch: enough for NumPy to be fast, few enough for a worker's memory
PARTS_OF_A_CORE = 2


class Batches(Protocol):
    """Rows that lie in several parts, over which a kernel can run."""

    @property
    def rows(self) -> int:
        """Number of rows in all parts."""

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """All rows that the kernel yields for the parts; `schema` is theirs in Spark SQL."""


@dataclass(frozen=True)
class FrameBatches:
    """The rows of a Spark frame; each partition is a part."""

    frame: DataFrame

    @property
    def rows(self) -> int:
        """Number of rows, counted by Spark."""
        return self.frame.count()

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """All rows that the kernel yields for the partitions."""
        return self.frame.mapInArrow(kernel, schema).toArrow()


@dataclass(frozen=True)
class FileBatches:
    """The rows of Parquet files; each part is a group of files."""

    session: SparkSession
    parts: tuple[tuple[str, ...], ...]
    io: FileIO
    schema: pa.Schema
    rows: int

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """All rows that the kernel yields for the groups of files."""
        parts, io, wanted = self.parts, self.io, self.schema  # not self: a session can't be sent to a task

        def of_partition(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for numbered in numbers:
                for i in numbered.column(0).to_pylist():
                    yield from kernel(batch for path in parts[i] for batch in file_batches(io, path, wanted))

        count = len(parts)
        return self.session.range(0, count, 1, max(count, 1)).mapInArrow(of_partition, schema).toArrow()


def file_batches(io: FileIO, path: str, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches of one Parquet file in the wanted columns; a column that the file lacks is null."""
    with io.new_input(path).open() as source:
        file = pq.ParquetFile(source)
        present = [name for name in wanted.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=ROWS, columns=present):
            arrays = [
                batch.column(field.name) if field.name in present else pa.nulls(len(batch), field.type)
                for field in wanted
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=wanted.names)


def rows_of_files(
    session: SparkSession,
    handle: IcebergTable,
    table: Table,
    snapshot_id: int,
    key: Mapping[str, Any],
    columns: Sequence[str],
) -> FileBatches | None:
    """The rows of a key, straight from their files; None when files have deletes or hold rows of other keys."""
    tasks = list(handle.scan(row_filter=matching(dict(key)), snapshot_id=snapshot_id).plan_files())
    if any(task.delete_files or task.residual != AlwaysTrue() for task in tasks):
        return None
    declared = arrow_schema(table)
    return FileBatches(
        session,
        parts_of(
            {task.file.file_path: task.file.record_count for task in tasks}, session.sparkContext.defaultParallelism
        ),
        handle.io,
        pa.schema([declared.field(name) for name in columns]),
        sum(task.file.record_count for task in tasks),
    )


@dataclass(frozen=True)
class BucketFiles:
    """The Parquet files of a table that lies in buckets."""

    table: Table
    io: FileIO
    paths: Mapping[int, tuple[str, ...]]
    buckets: int

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types of some columns."""
        declared = arrow_schema(self.table)
        return pa.schema([declared.field(name) for name in columns])


def files_by_bucket(handle: IcebergTable, table: Table, snapshot_id: int, key: Mapping[str, Any]) -> BucketFiles | None:
    """The files of a key by bucket; None when files have deletes, rows of other keys or another partitioning."""
    tasks = list(handle.scan(row_filter=matching(dict(key)), snapshot_id=snapshot_id).plan_files())
    place, bucket = next((i, found) for i, p in enumerate(table.partition) if (found := bucket_of(p)) is not None)
    if any(t.delete_files or t.residual != AlwaysTrue() or t.file.spec_id != handle.spec().spec_id for t in tasks):
        return None
    paths: dict[int, tuple[str, ...]] = {}
    for task in tasks:
        number = int(task.file.partition[place])
        paths[number] = (*paths.get(number, ()), task.file.file_path)
    return BucketFiles(table, handle.io, paths, bucket[0])


def parts_of(files: Mapping[str, int], cores: int) -> tuple[tuple[str, ...], ...]:
    """The files in groups of about equal numbers of rows, enough groups to keep all cores busy to the end."""
    parts: list[list[str]] = [[] for _ in range(min(len(files), cores * PARTS_OF_A_CORE))]
    filled = [(0, i) for i in range(len(parts))]
    for path, rows in sorted(files.items(), key=lambda file: (-file[1], file[0])):
        known, i = heapq.heappop(filled)
        parts[i].append(path)
        heapq.heappush(filled, (known + rows, i))
    return tuple(map(tuple, parts))
