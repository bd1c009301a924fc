"""Rows in Arrow batches where the work is done: a kernel runs over each part, and only what it yields comes back.

Rows of a published table are read from its Parquet files by Arrow itself, a task for each file: a million unit rows
with their maps cost about one second of processor time, where Spark's reader alone, row by row, costs seven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io import FileIO
from pyiceberg.table import Table as IcebergTable

from exp_platform.lake.ops import matching
from exp_platform.lake.tables import Table
from exp_platform.lake.types import arrow_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
ROWS = 50_000  # of a batch: large enough for NumPy, small enough for a worker


class Batches(Protocol):
    """Where rows come from."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """What the kernel yields for each part; `schema` in Spark's words."""


@dataclass(frozen=True)
class FrameBatches:
    """The rows of a Spark frame, a part for each of its partitions."""

    frame: DataFrame

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.frame.count()

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """What the kernel yields for each partition."""
        return self.frame.mapInArrow(kernel, schema).toArrow()


@dataclass(frozen=True)
class FileBatches:
    """The rows of Parquet files, a part for each file."""

    session: SparkSession
    paths: tuple[str, ...]
    io: FileIO
    schema: pa.Schema
    rows: int

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """What the kernel yields for each file."""
        paths, io, wanted = self.paths, self.io, self.schema  # not self: a session does not travel

        def of_partition(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for numbered in numbers:
                for i in numbered.column(0).to_pylist():
                    yield from kernel(file_batches(io, paths[i], wanted))

        files = len(paths)
        return self.session.range(0, files, 1, max(files, 1)).mapInArrow(of_partition, schema).toArrow()


def file_batches(io: FileIO, path: str, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Some columns of one Parquet file; a column that it does not have is null."""
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
    """A key's rows as their files hold them; None where that is not all that there is to it: deletes, or other keys."""
    tasks = list(handle.scan(row_filter=matching(dict(key)), snapshot_id=snapshot_id).plan_files())
    if any(task.delete_files or task.residual != AlwaysTrue() for task in tasks):
        return None
    declared = arrow_schema(table)
    return FileBatches(
        session,
        tuple(sorted(task.file.file_path for task in tasks)),
        handle.io,
        pa.schema([declared.field(name) for name in columns]),
        sum(task.file.record_count for task in tasks),
    )
