"""Ratio of sums (Σ numerator / Σ denominator over units) by the delta method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exp_platform.stats.ab import obstacles
from exp_platform.stats.arm import Arm
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Effect, compare
from exp_platform.stats.error import larger
from exp_platform.stats.moments import linearise, to_arm, too_skewed
from exp_platform.stats.reasons import Reason
from exp_platform.stats.sufficient import Array, SufficientStatistics

ZERO_DENOMINATOR = "zero_denominator"
FEW_DENOMINATORS = "few_units_with_denominator"
MIN_CARRIERS = 10  # units with a denominator, at least, where nobody counted them


def ratio_effect(
    arms: SufficientStatistics,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
    with_denominator: Array | None = None,
) -> Effect:
    """Difference of ratios of each treatment against control: axis 0 of `arms` is the arm, control first.

    `with_denominator` counts each arm's units whose denominator is not 0: they carry the ratio, and `min_units` asks
    for that many of them. Without it a lower bound of their number gives the degrees of freedom, and must be 10.
    """
    arm = ratio_arm(arms, with_denominator)
    return compare(
        arm[:1],
        arm[1:],
        alpha=alpha,
        min_units=min_units,
        error=larger(arm[:1], arm[1:], too_skewed(arms)),
        insufficient=[*ratio_obstacles(arms, min_units, with_denominator), *obstacles(arms, ratio=True)],
    )


def ratio_arm(s: SufficientStatistics, with_denominator: Array | None = None) -> Arm:
    """Ratio of sums with the variance of its linearisation, between the units that have a denominator."""
    linear = linearise(s, ratio=True)
    return carried(to_arm(linear.n, linear.mean, linear.ss), s, with_denominator)


def carried(arm: Arm, s: SufficientStatistics, with_denominator: Array | None) -> Arm:
    """The arm with the degrees of freedom of the units that carry the ratio."""
    with np.errstate(all="ignore"):
        if with_denominator is None:
            return replace(arm, df=fewest_carriers(s) - 1)
        lost = with_denominator / (with_denominator - 1) * (arm.n - 1) / arm.n
        return replace(arm, var_mean=arm.var_mean * lost, df=with_denominator - 1)


def fewest_carriers(s: SufficientStatistics) -> Array:
    """A lower bound of the units with a denominator: (Σd)² / Σd², which is their number where all d are equal."""
    with np.errstate(all="ignore"):
        return np.where(s.dd > 0, np.minimum(s.d**2 / s.dd, s.n), s.n)


def ratio_obstacles(arms: SufficientStatistics, min_units: int, with_denominator: Array | None) -> list[Reason]:
    """Where an arm has units but nothing, or too few units, to divide by."""
    needed = max(min_units, 2)
    if with_denominator is None:
        short = fewest_carriers(arms) < min(needed, MIN_CARRIERS)
    else:
        short = np.asarray(with_denominator) < needed
    few = short & (arms.n >= needed) & (arms.d != 0)
    return [zero_denominator(arms), (few[1:] | few[:1], FEW_DENOMINATORS)]


def zero_denominator(arms: SufficientStatistics) -> Reason:
    """Where one of the two arms has units but nothing to divide by."""
    empty = (arms.d == 0) & (arms.n > 0)
    return empty[1:] | empty[:1], ZERO_DENOMINATOR
