"""Ratio of sums (Σ numerator / Σ denominator over units) by the delta method."""

from __future__ import annotations

from exp_platform.stats.ab import against_control
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Arm, Effect, Reason
from exp_platform.stats.moments import linearise, to_arm
from exp_platform.stats.sufficient import SufficientStatistics

ZERO_DENOMINATOR = "zero_denominator"


def ratio_effect(
    arms: SufficientStatistics, *, alpha: float = DEFAULT_ALPHA, min_units: int = DEFAULT_MIN_UNITS
) -> Effect:
    """Difference of ratios of each treatment against control: axis 0 of `arms` is the arm, control first."""
    return against_control(ratio_arm(arms), alpha=alpha, min_units=min_units, insufficient=[zero_denominator(arms)])


def ratio_arm(s: SufficientStatistics) -> Arm:
    """Ratio of sums with the variance of its linearisation between units (n − 1)."""
    linear = linearise(s, ratio=True)
    return to_arm(linear.n, linear.mean, linear.ss)


def zero_denominator(arms: SufficientStatistics) -> Reason:
    """Where one of the two arms has units but nothing to divide by."""
    empty = (arms.d == 0) & (arms.n > 0)
    return empty[1:] | empty[:1], ZERO_DENOMINATOR
