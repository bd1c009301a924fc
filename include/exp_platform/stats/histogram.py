"""Histograms with log-spaced bins that keep their extremes: order-free, mergeable, exact where a bin holds one value.

A value v falls into the bin sign(v) · (floor(log2|v| · 256 + 1e-6) + 300000), and 0 into the bin 0. Bins sort as the
values do, a bin is 0.27% wide, and counts merge by addition in any order. The 1e-6 keeps powers of two clear of a bin's
edge, so that engines whose logarithms differ in the last digit agree. The rule in SQL is in
`second_opinion.checked_histograms`.

A bin keeps its smallest and its largest value, which merge by minimum and maximum: where a bin holds one value, as
whole numbers below 370 do, the quantile is that value and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.sufficient import Array

BINS_PER_DOUBLING = 256
OFFSET = 300_000  # keeps the bins of the smallest doubles positive
NUDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Bins:
    """Counts with the smallest and largest value of each bin, by ascending code; codes may tell of groups too."""

    code: NDArray[np.int64]
    count: Array
    low: Array
    high: Array

    @classmethod
    def empty(cls) -> Bins:
        """Nothing at all."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))

    @classmethod
    def merged(cls, parts: Sequence[Bins]) -> Bins:
        """All parts in one; in any order the same."""
        parts = [part for part in parts if len(part.code)]
        if not parts:
            return cls.empty()
        code, count, low, high = (np.concatenate([getattr(part, name) for part in parts]) for name in _BIN_ARRAYS)
        order, starts = _runs(code)
        return cls(
            code[order[starts]],
            np.add.reduceat(count[order], starts),
            np.minimum.reduceat(low[order], starts),
            np.maximum.reduceat(high[order], starts),
        )

    @classmethod
    def of_values(cls, code: NDArray[np.int64], values: Array) -> Bins:
        """Each value counted once."""
        if not len(code):
            return cls.empty()
        order, starts = _runs(code)
        ordered = values[order] + 0.0  # no minus zero: which of the two zeros is smaller would depend on the order
        low, high = np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)
        return cls(code[order[starts]], np.diff(starts, append=len(code)).astype(float), low, high)


_BIN_ARRAYS = tuple(f.name for f in fields(Bins))


def _runs(code: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order by code, and the places in it where a code begins."""
    order = np.argsort(code, kind="stable")  # far cheaper than any other sort where pieces are in order
    ordered = code[order]
    return order, np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))


SPAN = 4 * OFFSET  # bins lie within ± 2 · OFFSET, so that group and bin fit into one code


def coded(groups: Any, bins: Any) -> NDArray[np.int64]:
    """Group and bin as one number, which sorts by group and then by bin."""
    return np.asarray(groups, dtype=np.int64) * SPAN + np.asarray(bins, dtype=np.int64) + SPAN // 2


def decoded(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group and bin of each code."""
    group, key = np.divmod(codes, SPAN)
    return group, key - SPAN // 2


@dataclass(frozen=True, eq=False)
class Histogram:
    """One arm's values (or events) by group × bin, in long form, and the number of its units.

    `group` is the unit bucket. A single group shows no spread between units: only where its values are known to be
    independent, one for each unit, is the variance binomial. `low` and `high` are a bin's smallest and largest value.
    """

    units: float
    group: NDArray[np.int64]
    bin: NDArray[np.int64]
    count: Array
    low: Array
    high: Array
    independent: bool = False

    @classmethod
    def from_bins(cls, units: float, bins: Bins) -> Histogram:
        """From bins whose codes hold the group."""
        return cls(units, *decoded(bins.code), bins.count, bins.low, bins.high)

    @classmethod
    def from_values(cls, values: Any, units: Any, groups: int = 256) -> Histogram:
        """From values and the integer unit that each belongs to; unit modulo `groups` is the group."""
        unit, value = np.asarray(units, dtype=np.int64), np.asarray(values, dtype=float)
        return cls.from_bins(float(len(np.unique(unit))), Bins.of_values(coded(unit % groups, bin_of(value)), value))

    def merged(self) -> Histogram:
        """Merge all groups into one, whose values count as independent."""
        return replace(self, group=np.zeros_like(self.group), independent=True)

    def of_groups(self, chosen: NDArray[np.bool_], share: float) -> Histogram:
        """Keep the chosen rows, which are whole groups and hold the given share of the units."""
        return replace(
            self,
            units=self.units * share,
            group=self.group[chosen],
            bin=self.bin[chosen],
            count=self.count[chosen],
            low=self.low[chosen],
            high=self.high[chosen],
        )

    def by_bin(self) -> Bins:
        """All groups together."""
        return Bins.merged([Bins(self.bin, self.count, self.low, self.high)])


def bin_of(values: Any) -> NDArray[np.int64]:
    """Bin of each finite value."""
    v = np.asarray(values, dtype=float)
    magnitude = np.where(v == 0, 1.0, np.abs(v))
    key = np.floor(np.log2(magnitude) * BINS_PER_DOUBLING + NUDGE) + OFFSET
    return np.where(v == 0, 0.0, np.sign(v) * key).astype(np.int64)
