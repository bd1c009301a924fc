"""Fieller's interval of an effect relative to its base, from the variances and the covariance of the two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.sufficient import Array

BEYOND_MEANING = 1e100  # a relative effect as large as this says that the base is 0 but for rounding


def fieller(
    effect: Array, variance: Array, base: Array, base_variance: Array, covariance: Array, critical: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Low and high of effect / |base|, and where they exist.

    The interval holds every ratio θ that a test of effect − θ · |base| = 0 at `critical` standard errors does not
    refuse. It has two ends exactly where the base itself is more than `critical` standard errors away from 0;
    elsewhere no finite interval keeps the promise. It excludes 0 exactly where the absolute interval does.
    """
    with np.errstate(all="ignore"):
        # Everything in units of the base, because the square of a tiny mean is 0.
        size = np.abs(base)
        ratio, own = effect / size, variance / size / size
        base_own = base_variance / size / size
        both = np.clip(covariance * np.sign(base) / size / size, *_reach(own, base_own))
        square = critical**2
        a, b = 1 - square * base_own, ratio - square * both
        root = np.sqrt(np.maximum(b**2 - a * (ratio**2 - square * own), 0.0))
        low, high = (b - root) / a, (b + root) / a
        known = (a > 0) & (np.abs(low) < BEYOND_MEANING) & (np.abs(high) < BEYOND_MEANING)
    return low, high, np.asarray(known & (np.abs(ratio) < BEYOND_MEANING))


def _reach(variance: Array, other: Array) -> tuple[Array, Array]:
    """Smallest and largest covariance that two variances allow."""
    largest = np.sqrt(variance * other)
    return -largest, largest
