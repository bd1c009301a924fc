"""Events with what their units are, as the kernels of one pass read them, and the way of their rows to the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.metrics.values import Period

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]

FAR = float(2**32)  # as in J4: larger values don't fit into whole numbers, and are added up one by one
HI, LO, CARRY = float(2**16), float(2**58), 2**42  # as J4 cuts a value in two and puts it together


@dataclass(frozen=True)
class Cell:
    """Events of a source inside a window of their unit."""

    source: str
    period: Period
    mature: bool = False  # only of units whose window has closed
    usable: bool = False  # only of units whose window holds no excluded date


@dataclass(frozen=True)
class EventColumns:
    """The columns of a pass: `source` is a number, and a flag says for each cell whether the event is in it."""

    sources: tuple[str, ...]
    cells: tuple[Cell, ...]

    def inside(self, batch: pa.RecordBatch, cells: Sequence[Cell]) -> NDArray[np.bool_]:
        """True for the events in any of the cells."""
        flags = (batch.column(self.flag(cell)).to_numpy(zero_copy_only=False) for cell in cells)
        return reduce(np.logical_or, flags, np.zeros(len(batch), dtype=bool))

    def refuse_far(self, batch: pa.RecordBatch) -> None:
        """Raise where a value is far although none was expected."""
        far = np.flatnonzero(is_far(batch.column("value").to_numpy()))
        if len(far):
            source = self.sources[batch.column("source")[int(far[0])].as_py()]
            raise ValueError(f"a value of {FAR:.0f} or more, though none was expected: {source}")

    def flag(self, cell: Cell) -> str:
        """Name of a cell's column."""
        return f"in{self.cells.index(cell)}"


class EventKernel(Protocol):
    """A kernel makes one table from the events of a partition."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the events of a batch, among them some that are none of this table's."""

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The partition's part of the table, when all events have been taken."""


PACKED_SQL = "part int, rows binary"
PACKED_SCHEMA = pa.schema([("part", pa.int32()), ("rows", pa.binary())])


def run_kernels(
    batches: Iterable[pa.RecordBatch],
    kernels: Sequence[Callable[[], EventKernel]],
    names: EventColumns,
    far: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Give each batch to all kernels, then send on the rows of each, packed, as their columns differ."""
    running = [start() for start in kernels]
    for batch in batches:
        if not far:
            names.refuse_far(batch)
        for kernel in running:
            kernel.add(batch)
    for part in range(len(running)):
        for rows in running[part].rows():
            packed = pa.array([_packed(rows)], pa.binary())
            yield pa.RecordBatch.from_arrays([pa.array([part], pa.int32()), packed], schema=PACKED_SCHEMA)
        running[part] = _Done()  # and let go of what it held


def unpacked(rows: pa.Table, schemas: Sequence[pa.Schema]) -> list[pa.Table]:
    """The rows of each kernel, from all partitions."""
    found: list[list[pa.RecordBatch]] = [[] for _ in schemas]
    for part, packed in zip(rows["part"].to_pylist(), rows["rows"], strict=True):
        found[part] += list(pa.ipc.open_stream(packed.as_buffer()))
    return [pa.Table.from_batches(batches, schema) for batches, schema in zip(found, schemas, strict=True)]


def is_far(values: Numbers) -> NDArray[np.bool_]:
    """True for the values that are too large for whole numbers."""
    return np.asarray(np.abs(values) >= FAR)


def cut_in_two(values: Numbers) -> tuple[Codes, Codes]:
    """The values as two whole numbers each, as J4 cuts them; 0 for far values."""
    near = np.where(is_far(values), 0.0, values)
    high = np.floor(near * HI)
    low = np.floor((near - high / HI) * LO)
    return high.astype(np.int64), low.astype(np.int64)


def put_together(high: Codes, low: Codes) -> Numbers:
    """The exact sums of values that `cut_in_two` has cut, rounded as J4 rounds."""
    carry = np.floor(low / float(CARRY)).astype(np.int64)
    return np.asarray((high + carry) / HI + (low - carry * CARRY) / LO)


class _Done:
    def add(self, batch: pa.RecordBatch) -> None:
        raise AssertionError("a kernel that has given its rows takes no more events")

    def rows(self) -> Iterator[pa.RecordBatch]:
        return iter(())


def _packed(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    return bytes(sink.getvalue())
