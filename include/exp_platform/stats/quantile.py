"""Quantiles of unit values, or of events clustered in units, from an order-free histogram with log-spaced bins.

A value v falls into the bin sign(v) · (floor(log2|v| · 256 + 1e-6) + 300000), and 0 into the bin 0. Bins sort as the
values do, a bin is 0.27% wide, and counts merge by addition in any order. The 1e-6 keeps powers of two clear of a bin's
edge, so that engines whose logarithms differ in the last digit agree. `BIN_SQL` is the same formula in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.ab import against_control
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Arm, Effect, t_quantile
from exp_platform.stats.sufficient import Array

BINS_PER_DOUBLING = 256
OFFSET = 300_000  # keeps the bins of the smallest doubles positive
NUDGE = 1e-6
BIN_SQL = "CASE WHEN {v} = 0 THEN 0 ELSE CAST(sign({v}) * (floor(log2(abs({v})) * 256 + 1e-6) + 300000) AS INT) END"

OUT_OF_REACH = "quantile_out_of_reach"


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of one arm's values (or events) per group × bin, in long form, and the number of its units.

    `group` is the unit bucket. A single group shows no spread between units: only where its values are known to be
    independent, one for each unit, is the variance binomial.
    """

    units: float
    group: NDArray[np.int64]
    bin: NDArray[np.int64]
    count: Array
    independent: bool = False

    @classmethod
    def from_maps(
        cls, units: float, maps: Sequence[Mapping[int, float] | Sequence[tuple[int, float]] | None]
    ) -> Histogram:
        """From one map of bin to count per group, as the statistics table holds them."""
        pairs = [dict(bins).items() if bins else () for bins in maps]
        rows = [(group, key, count) for group, items in enumerate(pairs) for key, count in items]
        table = np.array(rows, dtype=float).reshape(-1, 3)
        return cls(units, table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2])

    @classmethod
    def from_values(cls, values: Any, units: Any, groups: int = 256) -> Histogram:
        """From values and the integer unit that each belongs to; unit modulo `groups` is the group."""
        unit, span = np.asarray(units, dtype=np.int64), 4 * OFFSET
        keys, count = np.unique((unit % groups) * span + bin_of(values) + span // 2, return_counts=True)
        group, key = np.divmod(keys, span)
        return cls(float(len(np.unique(unit))), group, key - span // 2, count.astype(float))

    def merged(self) -> Histogram:
        """The same counts as one group of independent values."""
        return Histogram(self.units, np.zeros_like(self.group), self.bin, self.count, independent=True)


def bin_of(values: Any) -> NDArray[np.int64]:
    """Bin of each finite value."""
    v = np.asarray(values, dtype=float)
    magnitude = np.where(v == 0, 1.0, np.abs(v))
    key = np.floor(np.log2(magnitude) * BINS_PER_DOUBLING + NUDGE) + OFFSET
    return np.where(v == 0, 0.0, np.sign(v) * key).astype(np.int64)


def bin_edges(bins: Any) -> tuple[Array, Array]:
    """Smallest and largest value of each bin; both 0 for the bin 0."""
    key = np.asarray(bins, dtype=np.int64)
    power = np.abs(key) - OFFSET
    near, far = (np.exp2((power + step - NUDGE) / BINS_PER_DOUBLING) for step in (0, 1))
    low = np.where(key > 0, near, -far)
    high = np.where(key > 0, far, -near)
    return np.where(key == 0, 0.0, low), np.where(key == 0, 0.0, high)


def quantile_effect(
    arms: Sequence[Histogram],
    q: float,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """Difference of q-quantiles of each treatment against control, the first of `arms`; one element per treatment."""
    singles = [quantile_arm(arm, q, alpha=alpha) for arm in arms]
    arm = Arm(
        **{name: np.array([getattr(single, name) for single in singles], dtype=float) for name in vars(singles[0])}
    )
    unreachable = ~np.isfinite(arm.var_mean) & (arm.n >= min_units)
    return against_control(
        arm, alpha=alpha, min_units=min_units, insufficient=[(unreachable[1:] | unreachable[:1], OUT_OF_REACH)]
    )


def quantile_arm(histogram: Histogram, q: float, *, alpha: float = DEFAULT_ALPHA) -> Arm:
    """One arm's q-quantile; its standard error is the width of the interval by inversion over that of Student's t.

    The share F of values below the estimate has the variance of a ratio over groups (a unit's events lie in one
    group); the interval's ends are the quantiles at q ± t · se(F). `sd` is null: a quantile has none.

    Where q lies on a step between two values (the median of a count), the estimate is a coin toss between them, whose
    standard deviation is half of the step, however narrow the interval is.
    """
    total, bins, count = histogram.count.sum(), *_by_bin(histogram)
    if total <= 0:
        return _scalar_arm(histogram.units, np.nan, np.nan, np.nan)
    at, inside = _position(q * total, count)
    se_share, df = _share_error(histogram, q, bins[at], inside)
    half = float(t_quantile(1 - alpha / 2, np.asarray(df))) * se_share if df > 0 else np.nan
    if half == 0 or len(bins) == 1:
        variance = 0.0  # one value only, as far as the histogram can tell
    elif q - half > 0 and q + half < 1:
        ends = [_position(share * total, count) for share in (q - half, q + half)]
        low, high = (_value(bins, *end) for end in ends)
        error = max((high - low) / half * se_share, _widest_step(bins[ends[0][0] : ends[1][0] + 1])) / 2
        variance = error * error  # not **: that raises where a product is infinite
    else:
        variance = np.nan
    return _scalar_arm(histogram.units, _value(bins, at, inside), variance, df)


def _scalar_arm(units: float, mean: float, variance: float, df: float) -> Arm:
    return Arm(*(np.asarray(value, dtype=float) for value in (units, mean, np.nan, variance, df)))


def _by_bin(histogram: Histogram) -> tuple[NDArray[np.int64], Array]:
    bins, where = np.unique(histogram.bin, return_inverse=True)
    return bins, np.bincount(where, weights=histogram.count, minlength=len(bins)).astype(float)


def _position(rank: float, count: Array) -> tuple[int, float]:
    """Index of the bin that holds the rank, and the share of the bin's counts below it."""
    below = np.cumsum(count)
    at = min(int(np.searchsorted(below, rank)), len(count) - 1)
    return at, min(max(float((rank - below[at] + count[at]) / count[at]), 0.0), 1.0)


def _widest_step(bins: NDArray[np.int64]) -> float:
    """Widest gap between neighbours among these occupied bins, in ascending order."""
    low, high = bin_edges(bins)
    return float((low[1:] - high[:-1]).max(initial=0.0))


def _value(bins: NDArray[np.int64], at: int, inside: float) -> float:
    low, high = (float(edge) for edge in bin_edges(bins[at]))
    return low + (high - low) * inside


def share_error(below: Array, size: Array) -> tuple[float, float]:
    """Standard error of Σ below / Σ size over groups (one element each), and its degrees of freedom."""
    g, total = len(size), size.sum()
    residual = below - below.sum() / total * size
    return float(np.sqrt(g / (g - 1) * (residual**2).sum()) / total), g - 1.0


def _share_error(histogram: Histogram, q: float, at: int, inside: float) -> tuple[float, float]:
    """Error of the share of values below a place in bin `at`: between groups, or binomial; not known from one group."""
    groups, where = np.unique(histogram.group, return_inverse=True)
    if len(groups) < 2:
        if not histogram.independent:
            return np.nan, 0.0
        total = histogram.count.sum()
        return float(np.sqrt(q * (1 - q) / total)), total - 1
    share = (histogram.bin < at) + inside * (histogram.bin == at)
    below, size = (np.bincount(where, weights=w).astype(float) for w in (histogram.count * share, histogram.count))
    return share_error(below, size)
