"""Histograms of unit values by group, from batches; and as rows of group × bin. Counts, so in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.stats.quantile import OFFSET
from exp_platform.sums.group_sums import GROUP

Codes = NDArray[np.int64]
SPAN = 4 * OFFSET  # bins lie within ± 2 · OFFSET
FEW = 100_000  # pairs that may wait to be counted


@dataclass
class BinCounts:
    """Units by group and bin."""

    pairs: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    counts: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    fresh: list[Codes] = field(default_factory=list)  # pairs, one for each unit, that are not counted yet

    def add(self, groups: Codes, bins: Codes) -> None:
        """Some units: the group and the bin that each is in."""
        self.fresh.append(groups * SPAN + bins + SPAN // 2)
        # Counting sorts everything anew, so it waits until there is as much again.
        if sum(map(len, self.fresh)) > max(len(self.pairs), FEW):
            self._count()

    def lists(self, groups: int) -> tuple[pa.Array, pa.Array]:
        """Bins and counts, a list of each for every group."""
        self._count()
        group, bins = np.divmod(self.pairs, SPAN)
        offsets = pa.array(np.searchsorted(group, np.arange(groups + 1)).astype(np.int32))
        columns = pa.array((bins - SPAN // 2).astype(np.int32)), pa.array(self.counts)
        return pa.ListArray.from_arrays(offsets, columns[0]), pa.ListArray.from_arrays(offsets, columns[1])

    def _count(self) -> None:
        pairs, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *self.fresh]), return_counts=True)
        both = np.concatenate([self.pairs, pairs])
        self.pairs, inverse = np.unique(both, return_inverse=True)
        self.counts = np.bincount(inverse, np.concatenate([self.counts, counts])).astype(np.int64)
        self.fresh.clear()


def bin_rows(sums: pa.Table) -> pa.Table:
    """One row per group × bin with its count, those of all partitions added up."""
    whole = sums.combine_chunks()
    parents = pc.list_parent_indices(whole["bins"])
    rows = whole.select(list(GROUP)).take(parents)
    rows = rows.append_column("bin", pc.list_flatten(whole["bins"]))
    rows = rows.append_column("count", pc.list_flatten(whole["bin_units"]))
    added = rows.group_by([*GROUP, "bin"]).aggregate([("count", "sum")])
    return added.rename_columns([name.removesuffix("_sum") for name in added.column_names])
