"""Histograms of unit values by group, from batches: counts and extremes, so that any order gives the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.stats.histogram import Bins, coded, decoded
from exp_platform.sums.exact_sums import Numbers

Codes = NDArray[np.int64]
FEW = 100_000  # values that may wait to be counted


@dataclass
class BinCounts:
    """Units by group and bin, with each bin's smallest and largest value."""

    known: Bins = field(default_factory=Bins.empty)
    fresh: list[tuple[Codes, Numbers]] = field(default_factory=list)  # codes and values that are not counted yet

    def add(self, groups: Codes, bins: Codes, values: Numbers) -> None:
        """Count units, each given by its group, its bin and its value."""
        self.fresh.append((coded(groups, bins), values))
        # Counting sorts everything anew, so it waits until there is as much again.
        if sum(len(codes) for codes, _ in self.fresh) > max(len(self.known.code), FEW):
            self._count()

    def lists(self, groups: int) -> list[pa.ListArray]:
        """Bins, counts, smallest and largest values: a list of each for every group."""
        self._count()
        group, bins = decoded(self.known.code)
        offsets = pa.array(np.searchsorted(group, np.arange(groups + 1)).astype(np.int32))
        columns = (bins.astype(np.int32), self.known.count.astype(np.int64), self.known.low, self.known.high)
        return [pa.ListArray.from_arrays(offsets, pa.array(column)) for column in columns]

    def _count(self) -> None:
        if self.fresh:
            codes, values = (np.concatenate(parts) for parts in zip(*self.fresh, strict=True))
            self.known = Bins.merged([self.known, Bins.of_values(codes, values)])
            self.fresh.clear()
