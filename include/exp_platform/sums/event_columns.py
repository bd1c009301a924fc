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
from exp_platform.sums.unit_groups import Segments, segments_of_columns

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]

FEW = 2**20  # kinds of rows that may be counted, though most of them don't occur
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
    dimensions: tuple[str, ...] = ()  # of the units, each with a column of its own: a map is dear for each event

    def segments(self, batch: pa.RecordBatch) -> Segments:
        """Row number and segment `dimension=value` of every known dimension of each event's unit."""
        return segments_of_columns({name: batch.column(self.column(name)) for name in self.dimensions})

    @property
    def known(self) -> list[str]:
        """Names of the dimensions' columns."""
        return [f"d{i}" for i in range(len(self.dimensions))]

    def column(self, dimension: str) -> str:
        """Name of a dimension's column."""
        return self.known[self.dimensions.index(dimension)]

    def inside(self, batch: pa.RecordBatch, cells: Sequence[Cell]) -> NDArray[np.bool_]:
        """True for the events in any of the cells."""
        flags = (batch.column(self.flag(cell)).to_numpy(zero_copy_only=False) for cell in cells)
        return reduce(np.logical_or, flags, np.zeros(len(batch), dtype=bool))

    def taken(self, batch: pa.RecordBatch, cells: Sequence[Cell], columns: Sequence[str]) -> pa.RecordBatch:
        """Take the events in any of the cells, with the columns that are asked for: no other column is copied."""
        return batch.select(list(columns)).take(pa.array(np.flatnonzero(self.inside(batch, cells))))

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


ENOUGH = 200_000  # rows of a batch
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
    for batch in _filled(batches):
        if not far:
            names.refuse_far(batch)
        for kernel in running:
            kernel.add(batch)
    for part in range(len(running)):
        for rows in running[part].rows():
            packed = pa.array([_packed(rows)], pa.binary())
            yield pa.RecordBatch.from_arrays([pa.array([part], pa.int32()), packed], schema=PACKED_SCHEMA)
        running[part] = _Done()  # and let go of what it held


def _filled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of at least ENOUGH rows, but the last: a kernel names the groups of each batch anew."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= ENOUGH:
            yield pa.concat_batches(held)
            held.clear()
    if held:
        yield pa.concat_batches(held)


def unpacked(rows: pa.Table, schemas: Sequence[pa.Schema]) -> list[pa.Table]:
    """The rows of each kernel, from all partitions."""
    found: list[list[pa.RecordBatch]] = [[] for _ in schemas]
    for part, packed in zip(rows["part"].to_pylist(), rows["rows"], strict=True):
        found[part] += list(pa.ipc.open_stream(packed.as_buffer()))
    return [pa.Table.from_batches(batches, schema) for batches, schema in zip(found, schemas, strict=True)]


def kinds_of(keys: Sequence[tuple[Codes, int]]) -> tuple[Codes, list[Codes]]:
    """Rows told apart by several keys, each with its number of codes: the kind of each row, and every kind's codes."""
    code, kinds, size = np.zeros(len(keys[0][0]), dtype=np.int64), [np.zeros(1, dtype=np.int64)], 1
    for key, codes in keys:
        if size * codes > FEW:  # too many to count: those that occur get numbers of their own
            code, kinds = _occurring(code, kinds, size)
            size = len(kinds[0])
        code = code * codes + key
        kinds = [*(np.repeat(kind, codes) for kind in kinds), np.tile(np.arange(codes), size)]
        size *= codes
    code, kinds = _occurring(code, kinds, size)
    return code, kinds[1:]


def _occurring(code: Codes, kinds: list[Codes], size: int) -> tuple[Codes, list[Codes]]:
    present = np.flatnonzero(np.bincount(code, minlength=size))
    number = np.zeros(size, dtype=np.int64)
    number[present] = np.arange(len(present))
    return number[code], [kind[present] for kind in kinds]


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
