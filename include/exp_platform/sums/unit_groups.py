"""The groups of unit rows in J5: all units by cohort date and by bucket, and each segment by cohort date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.sums.exact_sums import Numbers
from exp_platform.sums.group_sums import ALL, NO_BUCKET

Codes = NDArray[np.int64]
Segments = tuple[Codes, pa.DictionaryArray]  # rows of a batch, and the segment that each of them is in
Key = tuple[str, str, int | None, int]  # arm, segment, cohort date in days since 1970 (None: all), bucket


@dataclass(frozen=True)
class Cells:
    """A batch's rows in cells: a group of the statistics is made of whole cells.

    A cell has one arm, cohort date and bucket, or one arm, segment and cohort date. There are far fewer cells than
    rows, and limbs add up exactly: each row is added to one cell, then each cell to all of its groups.
    """

    again: Codes  # rows to repeat after all rows, once for each segment that they are in
    starts: Codes  # first row of each cell
    members: Codes  # the cells of all groups, one group after the other
    firsts: Codes  # position in `members` at which each group begins
    groups: Codes  # number of each group, as `Groups` counts them

    @classmethod
    def of(cls, again: Codes, starts: Codes, cells: Codes, groups: Codes) -> Cells:
        """Build the cells from pairs of a cell and a group that it belongs to."""
        by_group = np.argsort(groups, kind="stable")
        distinct, firsts = np.unique(groups[by_group], return_index=True)
        return cls(again, starts, cells[by_group], firsts, distinct)

    def sums(self, column: NDArray[Any]) -> NDArray[Any]:
        """Sum of the column over each cell's rows; for flags the number of true ones."""
        return np.add.reduceat(self._rows(column), self.starts, dtype=np.int64 if column.dtype == bool else None)

    def add_to(self, totals: Numbers, columns: Sequence[int], sums: Numbers) -> None:
        """Add the sums of the cells, one row per cell, to some columns of the totals of their groups."""
        totals[self.groups[:, None], np.array(columns)] += np.add.reduceat(sums[self.members], self.firsts, axis=0)

    def spread(self, column: NDArray[Any]) -> tuple[NDArray[Any], Codes]:
        """The column's value of each row, once for each group that the row is in, and the group's number."""
        rows = self._rows(column)
        sizes = np.diff(self.starts, append=len(rows))[self.members]
        shift = self.starts[self.members] - (np.cumsum(sizes) - sizes)
        groups = np.repeat(self.groups, np.diff(self.firsts, append=len(self.members)))
        return rows[np.arange(sizes.sum()) + np.repeat(shift, sizes)], np.repeat(groups, sizes)

    def _rows(self, column: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([column, column[self.again]]) if len(self.again) else column


@dataclass
class Groups:
    """The number of every group seen so far."""

    numbers: dict[Key, int] = field(default_factory=dict)

    @property
    def keys(self) -> list[Key]:
        """The groups in the order of their numbers."""
        return list(self.numbers)

    def of(self, batch: pa.RecordBatch, segments: Segments | None = None) -> tuple[Codes, Cells]:
        """An order of the batch's rows that keeps each cell together, and the cells in that order.

        The segments are those of the column `dimensions`, unless they are given.
        """
        arms = batch.column("variant_id").dictionary_encode()
        names, arm = arms.dictionary.to_pylist(), arms.indices.to_numpy().astype(np.int64)
        day = batch.column("cohort_date").cast(pa.int32()).to_numpy().astype(np.int64)
        bucket = batch.column("unit_bucket").to_numpy().astype(np.int64)
        order, starts = _by_cell(arm, day, bucket)
        arm, day, bucket = arm[order], day[order], bucket[order]
        a, d, own = arm[starts], day[starts], np.arange(len(starts))
        of_day = self._numbered(a, d, lambda i, on: (names[i], ALL, on, NO_BUCKET))
        of_bucket = self._numbered(a, bucket[starts], lambda i, number: (names[i], ALL, None, number))

        rows, segment = segments_of(batch.column("dimensions")) if segments is None else segments
        texts, label = segment.dictionary.to_pylist(), segment.indices.to_numpy().astype(np.int64)
        again = np.argsort(order)[rows]  # the rows' positions in the order of cells
        by_segment, more = _by_cell(arm[again], day[again], label)
        again, label = again[by_segment], label[by_segment]
        both, d = (arm[again] * len(texts) + label)[more], day[again][more]
        of_segment = self._numbered(
            both, d, lambda i, on: (names[i // len(texts)], texts[i % len(texts)], on, NO_BUCKET)
        )
        cells = np.concatenate([own, own, len(own) + np.arange(len(more))])
        starts = np.concatenate([starts, len(batch) + more])
        return order, Cells.of(again, starts, cells, np.concatenate([of_day, of_bucket, of_segment]))

    def _numbered(self, first: Codes, second: Codes, key_of: Callable[[int, int], Key]) -> Codes:
        low = int(second.min(initial=0))
        span = int(second.max(initial=0)) - low + 1
        distinct, inverse = np.unique(first * span + (second - low), return_inverse=True)
        numbers = [
            self.numbers.setdefault(key_of(int(code // span), int(code % span) + low), len(self.numbers))
            for code in distinct
        ]
        return np.array(numbers, dtype=np.int64)[inverse]


def segments_of(dimensions: pa.MapArray) -> Segments:
    """Row number and segment `dimension=value` of every map entry."""
    offsets = dimensions.offsets.to_numpy()
    rows = np.repeat(np.arange(len(dimensions), dtype=np.int64), np.diff(offsets))
    first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = (part.slice(first, length) for part in (dimensions.keys, dimensions.items))
    return rows, pc.binary_join_element_wise(keys, values, "=").dictionary_encode()


def segments_of_columns(dimensions: Mapping[str, pa.StringArray]) -> Segments:
    """Row number and segment `dimension=value` of every value in the columns of the dimensions."""
    rows, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    texts: list[str] = []
    for name, column in dimensions.items():
        values = column.dictionary_encode()
        known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        rows.append(known)
        numbers.append(values.indices.fill_null(0).to_numpy().astype(np.int64)[known] + len(texts))
        texts += [f"{name}={value}" for value in values.dictionary.to_pylist()]
    codes = pa.array(np.concatenate(numbers).astype(np.int32))
    return np.concatenate(rows), pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string()))


def _by_cell(*keys: Codes) -> tuple[Codes, Codes]:
    """The order of rows by the keys, the first key first, and the positions at which a cell of equal keys begins."""
    code = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys if len(code) else ():
        low = key.min()
        code = code * (key.max() - low + 1) + (key - low)
    order = np.argsort(code)
    return order, np.flatnonzero(np.diff(code[order], prepend=-1))
