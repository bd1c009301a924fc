"""Quantiles of unit values, or of events clustered in units, and the error of each in a comparison with another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import special

from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Arm, Effect, compare, t_quantile
from exp_platform.stats.histogram import Bins, Histogram, bin_of
from exp_platform.stats.sufficient import Array

__all__ = ("OUT_OF_REACH", "Histogram", "bin_of", "quantile_arm", "quantile_effect", "share_error")

OUT_OF_REACH = "quantile_out_of_reach"
LOPSIDED = 1.5  # times the error, beyond which the longer side of an interval is no chance of the sample
ROUNDING = 1e-9


def quantile_effect(
    arms: Sequence[Histogram],
    q: float,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """Difference of q-quantiles of each treatment against control, the first of `arms`; one element per treatment.

    Each arm's interval reaches further to one side than to the other where its values are skewed, most of all beside a
    share of zeros. What counts there is the side that faces the other arm.
    """
    levels = [_level(arm, q, alpha=alpha) for arm in arms]
    variances = np.array([_variances(levels[0], level, alpha) for level in levels[1:]]).reshape(-1, 2)
    control = _arms([levels[0].arm] * (len(levels) - 1), variances[:, 0])
    treatment = _arms([level.arm for level in levels[1:]], variances[:, 1])
    unreachable = [~np.isfinite(arm.var_mean) & (arm.n >= min_units) for arm in (control, treatment)]
    return compare(
        control,
        treatment,
        alpha=alpha,
        min_units=min_units,
        insufficient=[(unreachable[0] | unreachable[1], OUT_OF_REACH)],
    )


def quantile_arm(histogram: Histogram, q: float, *, alpha: float = DEFAULT_ALPHA) -> Arm:
    """One arm's q-quantile; its standard error is half of the interval by inversion over the quantile of Student's t.

    The share F of values below the estimate has the variance of a ratio over groups (a unit's events lie in one
    group); the interval's ends are the quantiles at q ± t · se(F). `sd` is null: a quantile has none.
    """
    return _level(histogram, q, alpha=alpha).arm


@dataclass(frozen=True)
class _Level:
    """One arm's quantile, its interval by inversion, and the widest step between two values in it."""

    arm: Arm
    low: float = np.nan
    high: float = np.nan
    t: float = np.nan  # that the interval was drawn with
    step: float = 0.0
    distance: float = np.inf  # of the estimate from the nearest step, in standard errors of F

    def error_against(self, other: _Level) -> float:
        """Standard error of the quantile in a comparison with another arm's."""
        value, error = float(self.arm.mean), float(np.sqrt(self.arm.var_mean))
        facing = (self.high - value if float(other.arm.mean) >= value else value - self.low) / self.t
        return facing if facing > LOPSIDED * error else error

    def holds(self, values: int) -> bool:
        """True when the interval holds at most so many values a step apart, and more than one."""
        return self.low < self.high and self.step * (values - 1) >= (self.high - self.low) * (1 - ROUNDING)


def _variances(one: _Level, other: _Level, alpha: float) -> tuple[float, float]:
    """Variances of two arms' quantiles in a comparison of the two.

    Errors of chance cancel, but two arms beside a step may each be on its wrong side: there errors add up.
    """
    first, second = one.error_against(other), other.error_against(one)
    beside = (one.holds(2) and other.holds(3)) or (one.holds(3) and other.holds(2))
    beside &= one.distance**2 + other.distance**2 <= -2 * np.log(min(4 * alpha, 1.0))
    together = (first + second) ** 2 / (first * first + second * second) if beside else 1.0
    return first * first * together, second * second * together


def _level(histogram: Histogram, q: float, *, alpha: float) -> _Level:
    bins = histogram.by_bin()
    total = bins.count.sum()
    if total <= 0:
        return _Level(_scalar_arm(histogram.units, np.nan, np.nan, np.nan))
    at, inside = _position(q * total, bins.count)
    value = _value(bins, at, inside)
    se_share, df = _share_error(histogram, q, bins.code[at], inside)
    t = float(t_quantile(1 - alpha / 2, np.asarray(df))) if df > 0 else np.nan
    if t * se_share == 0 or bins.low[0] == bins.high[-1]:  # one value only, as far as the histogram can tell
        return _Level(_scalar_arm(histogram.units, value, 0.0, df), value, value, t)
    if not (q - t * se_share > 0 and q + t * se_share < 1):
        return _Level(_scalar_arm(histogram.units, value, np.nan, df))
    ends = [_position(share * total, bins.count) for share in (q - t * se_share, q + t * se_share)]
    low, high = (_value(bins, *end) for end in ends)
    step, rounding = _steps(bins, ends[0][0], ends[1][0])
    if low == high:
        error = _pinned_error(bins, at, q * total, t, se_share * total)
    else:
        # Where values are a step apart (counts), the estimate is a coin toss between neighbours: the interval covers
        # both, with whatever degrees of freedom it is drawn.
        error = max(((high - low) / 2 + rounding) / t, step / float(special.ndtri(1 - alpha / 2)))
    distance = min(inside, 1 - inside) * bins.count[at] / (se_share * total)
    # Not **: that raises where a product is infinite.
    return _Level(_scalar_arm(histogram.units, value, error * error, df), low, high, t, step, distance)


def _pinned_error(bins: Bins, at: int, rank: float, t: float, se_rank: float) -> float:
    """Error of an estimate whose interval by inversion holds one value alone, z standard errors from the next step.

    It is step / t where the step is just out of reach (z = t), as if within, and falls as step / 2z: then two arms with
    one true quantile differ significantly only where their shares of values below the step do.
    """
    below = float(bins.count[: at + 1].sum())
    error = 0.0
    if at + 1 < len(bins.count):
        error = (bins.low[at + 1] - bins.high[at]) / (2 * max((below - rank) / se_rank, t) - t)
    if at > 0:
        z = (rank - below + bins.count[at]) / se_rank
        error = max(error, (bins.low[at] - bins.high[at - 1]) / (2 * max(z, t) - t))
    return float(error)


def _arms(singles: Sequence[Arm], variances: Array) -> Arm:
    """One element for each comparison."""
    columns = {f.name: np.array([getattr(arm, f.name) for arm in singles], dtype=float) for f in fields(Arm)}
    return Arm(**(columns | {"var_mean": variances}))


def _scalar_arm(units: float, mean: float, variance: float, df: float) -> Arm:
    return Arm(*(np.asarray(value, dtype=float) for value in (units, mean, np.nan, variance, df)))


def _position(rank: float, count: Array) -> tuple[int, float]:
    """Index of the bin that holds the rank, and the share of the bin's counts below it."""
    below = np.cumsum(count)
    at = min(int(np.searchsorted(below, rank)), len(count) - 1)
    return at, min(max(float((rank - below[at] + count[at]) / count[at]), 0.0), 1.0)


def _steps(bins: Bins, first: int, last: int) -> tuple[float, float]:
    """The widest gap between neighbouring bins, and half of the mean one as far as values repeat.

    The quantile of values that repeat (counts, whole milliseconds) is one of them: it is rounded, as its estimate is.
    """
    gaps = bins.low[first + 1 : last + 1] - bins.high[first:last]
    repeat = 1 - (last - first + 1) / float(bins.count[first : last + 1].sum())
    return float(gaps.max(initial=0.0)), float(gaps.sum()) / max(len(gaps), 1) * repeat / 2


def _value(bins: Bins, at: int, inside: float) -> float:
    low, high = float(bins.low[at]), float(bins.high[at])
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
