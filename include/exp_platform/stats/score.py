"""Shares by the score test with its skewness corrected: two tails of equal size also for rare events in uneven arms.

A difference d of shares is judged by the variance that the shares have under the value asked about, not by the one
that the sample happens to show: an arm without events is not an arm without error. The standardised difference z is
skewed where the arms are uneven; z = c + κ/6 · (c² − 1) translates a normal score c into a quantile of z (Gart and
Nam 1990; Laud 2017). Interval and p come from the same equation, so that p < alpha exactly where the interval
excludes 0, for the difference and for the ratio alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from exp_platform.stats.sufficient import Array

STEPS = 52  # halvings of the bracket: as many as a double has digits
FAR = 30.0  # |log| of the largest ratio looked for


@dataclass(frozen=True, eq=False)
class Shares:
    """Units with the event in both arms, arrays of one shape; `shrink` is what covariates leave of the error (1: all).

    `control` and `treatment` are the levels that are compared: the shares themselves, or their adjusted means.
    """

    control_events: Array
    control_n: Array
    treatment_events: Array
    treatment_n: Array
    control: Array
    treatment: Array
    shrink: Array

    def __getitem__(self, index: Array) -> Shares:
        """Index every array."""
        return Shares(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def null_error(s: Shares) -> Array:
    """Standard error of the difference if both arms have one share."""
    return np.asarray(s.shrink * np.sqrt(_moments_at_difference(s, np.zeros_like(s.shrink))[0]))


def normal_score(s: Shares) -> Array:
    """Signed normal score of the difference against 0: beyond ± c exactly where the interval at c excludes 0."""
    variance, third = _moments_at_difference(s, np.zeros_like(s.shrink))
    z = (s.treatment - s.control) / (s.shrink * np.sqrt(variance))
    return _normal(z, third / variance**1.5)


def difference_bounds(s: Shares, critical: Array) -> tuple[Array, Array]:
    """Ends of the interval of the difference at normal score ± critical, between −1 and 1."""
    difference = s.treatment - s.control

    def beyond(value: Array, score: Array) -> Array:
        variance, third = _moments_at_difference(s, value)
        return difference - value - s.shrink * _times_error(variance, third, score)

    inside = np.clip(difference, -1.0, 1.0)
    ends = np.ones_like(inside)
    return (
        _root(lambda v: beyond(v, critical), -ends, inside),
        _root(lambda v: beyond(v, -critical), inside, ends),
    )


def ratio_bounds(s: Shares, critical: Array) -> tuple[Array, Array]:
    """Ends of the interval of treatment / control at normal score ± critical; control must have an event.

    The high end is infinite where no ratio is refused: few events in control, at a critical value that is large.
    """

    def beyond(log_ratio: Array, score: Array) -> Array:
        ratio = np.exp(log_ratio)
        variance, third = _moments_at_ratio(s, ratio)
        return s.treatment - ratio * s.control - s.shrink * _times_error(variance, third, score)

    inside = np.log(np.clip(s.treatment / s.control, np.exp(-FAR), np.exp(FAR)))
    ends = np.full_like(inside, FAR)
    low = np.exp(_root(lambda v: beyond(v, critical), -ends, inside))
    highest = _root(lambda v: beyond(v, -critical), inside, ends)
    high = np.where(highest < FAR - 1e-6, np.exp(highest), np.inf)
    return np.where(s.treatment_events > 0, low, 0.0), high


def _moments_at_difference(s: Shares, difference: Array) -> tuple[Array, Array]:
    """Variance and third central moment of the difference of shares, at the likeliest shares that differ by it."""
    n0, n1, x0 = s.control_n, s.treatment_n, s.control_events
    n, x = n0 + n1, x0 + s.treatment_events
    # The likelihood's derivative is a cubic in control's share with one root between 0 and 1.
    c2 = ((n1 + 2 * n0) * difference - n - x) / (3 * n)
    c1 = ((n0 * difference - n - 2 * x0) * difference + x) / (3 * n)
    c0 = x0 * difference * (1 - difference) / (2 * n)
    q = c2**3 - 1.5 * c1 * c2 + c0
    size = np.where(q >= 0, 1.0, -1.0) * np.sqrt(np.maximum(c2**2 - c1, 0.0))
    cosine = np.clip(np.where(size == 0, 0.0, q / np.where(size == 0, 1.0, size**3)), -1.0, 1.0)
    control = 2 * size * np.cos((np.pi + np.arccos(cosine)) / 3) - c2
    control = np.clip(control, np.maximum(0.0, -difference), np.minimum(1.0, 1 - difference))
    return _moments(s, control, np.clip(control + difference, 0.0, 1.0), np.ones_like(control))


def _moments_at_ratio(s: Shares, ratio: Array) -> tuple[Array, Array]:
    """Variance and third central moment of treatment − ratio · control, at the likeliest shares with this ratio."""
    n0, n1, x0, x1 = s.control_n, s.treatment_n, s.control_events, s.treatment_events
    linear = n1 * ratio + x1 + n0 + x0 * ratio
    root = np.sqrt(np.maximum(linear**2 - 4 * (n0 + n1) * ratio * (x0 + x1), 0.0))
    control = np.clip(2 * (x0 + x1) / (linear + root), 0.0, np.minimum(1.0, 1 / ratio))
    return _moments(s, control, np.clip(ratio * control, 0.0, 1.0), ratio)


def _moments(s: Shares, control: Array, treatment: Array, ratio: Array) -> tuple[Array, Array]:
    n = s.control_n + s.treatment_n
    spread0, spread1 = control * (1 - control), treatment * (1 - treatment)
    variance = (spread1 / s.treatment_n + ratio**2 * spread0 / s.control_n) * n / (n - 1)
    third = spread1 * (1 - 2 * treatment) / s.treatment_n**2
    return variance, third - ratio**3 * spread0 * (1 - 2 * control) / s.control_n**2


def _times_error(variance: Array, third: Array, score: Array) -> Array:
    """Quantile of the skewed difference at a normal score, in the unit of the difference; 0 where nothing varies."""
    known = variance > 0
    error = np.sqrt(np.where(known, variance, 1.0))
    skewness = np.where(known, third / error**3, 0.0)
    return np.where(known, error * _skewed(score, skewness), 0.0)


def _skewed(score: Array, skewness: Array) -> Array:
    """Quantile at a normal score; in the short tail linear from where the parabola would turn back half as steep."""
    k = skewness / 6
    bent = _bent(score, k)
    return np.asarray(score + k * (bent**2 - 1))


def _normal(z: Array, skewness: Array) -> Array:
    """Normal score of a quantile: the inverse of `_skewed`."""
    k = np.where(np.abs(skewness) < 1e-9, 1e-9, skewness) / 6
    turn = -1 / (4 * k)
    straight = z - k * (turn**2 - 1)
    # The root that does not cancel where k is small.
    product = k + z
    parabola = 2 * product / (1 + np.sqrt(np.maximum(1 + 4 * k * product, 0.0)))
    return np.where(straight * np.sign(k) <= turn * np.sign(k), straight, parabola)


def _bent(score: Array, k: Array) -> Array:
    """The score up to which the parabola is followed: all of the long tail, the short one up to 1 / 4|k|."""
    with np.errstate(all="ignore"):
        turn = np.where(k == 0, -np.inf, -1 / (4 * np.where(k == 0, 1.0, k)))
    return np.where(k >= 0, np.maximum(score, turn), np.minimum(score, turn))


def _root(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a falling function changes its sign between two places, by halving."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = f(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)
