"""The groups of a batch of unit rows: all units by cohort date and by bucket, and each segment by cohort date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.sums.exact_sums import Numbers
from exp_platform.sums.group_sums import ALL, NO_BUCKET

Codes = NDArray[np.int64]
Key = tuple[str, str, int | None, int]  # arm, segment, cohort date in days since 1970 (None: all), bucket


@dataclass(frozen=True)
class Cells:
    """A batch's rows in cells, each of them inside every group that it touches.

    There are far fewer cells than rows, and limbs add up exactly: rows are added up once, and cells for each group.
    """

    again: Codes  # rows that follow after all rows: those of segments, once for each; such a cell is a segment's
    starts: Codes  # first row of each cell
    members: Codes  # the cells of each group, group by group
    firsts: Codes  # where those of a group begin
    groups: Codes

    @classmethod
    def of(cls, again: Codes, starts: Codes, cells: Codes, groups: Codes) -> Cells:
        """From pairs of a cell and a group."""
        by_group = np.argsort(groups, kind="stable")
        distinct, firsts = np.unique(groups[by_group], return_index=True)
        return cls(again, starts, cells[by_group], firsts, distinct)

    def sums(self, column: NDArray[Any]) -> NDArray[Any]:
        """Of each cell's rows; of flags, how many."""
        return np.add.reduceat(self._rows(column), self.starts, dtype=np.int64 if column.dtype == bool else None)

    def add_to(self, totals: Numbers, sums: Numbers) -> None:
        """Add the sums of cells, a row each, to the totals of groups."""
        totals[self.groups] += np.add.reduceat(sums[self.members], self.firsts, axis=0)

    def spread(self, column: NDArray[Any]) -> tuple[NDArray[Any], Codes]:
        """What each row has, once for each group that it is in; and the group."""
        rows = self._rows(column)
        sizes = np.diff(self.starts, append=len(rows))[self.members]
        shift = self.starts[self.members] - (np.cumsum(sizes) - sizes)
        groups = np.repeat(self.groups, np.diff(self.firsts, append=len(self.members)))
        return rows[np.arange(sizes.sum()) + np.repeat(shift, sizes)], np.repeat(groups, sizes)

    def _rows(self, column: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([column, column[self.again]]) if len(self.again) else column


@dataclass
class Groups:
    """Every group seen so far, numbered: all units by cohort date and by bucket, and each segment by cohort date."""

    numbers: dict[Key, int] = field(default_factory=dict)

    @property
    def keys(self) -> list[Key]:
        """All of them in the order of their numbers."""
        return list(self.numbers)

    def of(self, batch: pa.RecordBatch) -> tuple[Codes, Cells]:
        """An order of the rows, and the cells of rows in that order."""
        arms = batch.column("variant_id").dictionary_encode()
        names, arm = arms.dictionary.to_pylist(), arms.indices.to_numpy().astype(np.int64)
        day = batch.column("cohort_date").cast(pa.int32()).to_numpy().astype(np.int64)
        bucket = batch.column("unit_bucket").to_numpy().astype(np.int64)
        order, starts = _by_cell(arm, day, bucket)
        arm, day, bucket = arm[order], day[order], bucket[order]
        a, d, own = arm[starts], day[starts], np.arange(len(starts))
        of_day = self._numbered(a, d, lambda i, on: (names[i], ALL, on, NO_BUCKET))
        of_bucket = self._numbered(a, bucket[starts], lambda i, number: (names[i], ALL, None, number))

        rows, segment = segments_of(batch.column("dimensions"))
        texts, label = segment.dictionary.to_pylist(), segment.indices.to_numpy().astype(np.int64)
        again = np.argsort(order)[rows]  # where that order has them
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


def segments_of(dimensions: pa.MapArray) -> tuple[Codes, pa.DictionaryArray]:
    """Row number and `dimension=value` of every entry."""
    offsets = dimensions.offsets.to_numpy()
    rows = np.repeat(np.arange(len(dimensions), dtype=np.int64), np.diff(offsets))
    first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = (part.slice(first, length) for part in (dimensions.keys, dimensions.items))
    return rows, pc.binary_join_element_wise(keys, values, "=").dictionary_encode()


def _by_cell(*keys: Codes) -> tuple[Codes, Codes]:
    """The order of rows by some keys, the first of them first, and where in it a cell of equal keys begins."""
    code = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys if len(code) else ():
        low = key.min()
        code = code * (key.max() - low + 1) + (key - low)
    order = np.argsort(code)
    return order, np.flatnonzero(np.diff(code[order], prepend=-1))
