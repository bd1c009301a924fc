"""Difference of means between a treatment and control: mean, sum, count, binary and retention metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.arm import Arm
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Effect, compare
from exp_platform.stats.error import larger
from exp_platform.stats.moments import blurred, linearise, to_arm, too_skewed
from exp_platform.stats.reasons import BEYOND_PRECISION, TOO_FEW_EVENTS, Reason
from exp_platform.stats.score import Shares
from exp_platform.stats.sufficient import Array, SufficientStatistics

MIN_EVENTS = 10  # of a binary metric, expected with and without the event in the smaller arm


def mean_effect(
    arms: SufficientStatistics,
    *,
    binary: bool = False,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """Difference of means of each treatment against control: axis 0 of `arms` is the arm, control first.

    The result has the shape of `arms.lead` with one arm less: element [a − 1, …] compares arm a with arm 0. The error
    is the larger of Welch's and the pooled one; a binary metric is compared by the score test of its shares.
    """
    arm = mean_arm(arms)
    return compare(
        arm[:1],
        arm[1:],
        alpha=alpha,
        min_units=min_units,
        error=larger(arm[:1], arm[1:], too_skewed(arms)),
        shares=shares_of(arms, arm) if binary else None,
        insufficient=obstacles(arms, binary=binary),
    )


def mean_arm(s: SufficientStatistics) -> Arm:
    """Mean per unit with the sample variance (n − 1)."""
    linear = linearise(s)
    return to_arm(linear.n, linear.mean, linear.ss)


def against_control(
    arm: Arm,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
    insufficient: list[Reason] | None = None,
    notes: list[Reason] | None = None,
) -> Effect:
    """Compare every arm of axis 0 with the first one, each arm with its own error."""
    return compare(
        arm[:1], arm[1:], alpha=alpha, min_units=min_units, insufficient=insufficient or [], notes=notes or []
    )


def shares_of(arms: SufficientStatistics, level: Arm, shrink: Array | float = 1.0) -> Shares:
    """Units with the event in control and in each treatment; `level` are the shares that are compared."""
    treatment = arms.y[1:]
    control_events, control_n, control, left = (
        np.broadcast_to(value, treatment.shape) for value in (arms.y[:1], arms.n[:1], level.mean[:1], shrink)
    )
    return Shares(control_events, control_n, treatment, arms.n[1:], control, level.mean[1:], left)


def obstacles(arms: SufficientStatistics, *, binary: bool = False, ratio: bool = False) -> list[Reason]:
    """Reasons why a comparison has no answer however many units it has: too few events, too little spread."""
    hidden = blurred(arms, ratio=ratio)
    reasons: list[Reason] = [(hidden[1:] | hidden[:1], BEYOND_PRECISION)]
    return [(too_few_events(arms), TOO_FEW_EVENTS), *reasons] if binary else reasons


def too_few_events(arms: SufficientStatistics) -> NDArray[np.bool_]:
    """Where fewer than 10 units of the smaller arm are expected to have, or to lack, the event of a binary metric."""
    units = arms.n[1:] + arms.n[:1]
    with np.errstate(all="ignore"):
        share = np.where(units > 0, (arms.y[1:] + arms.y[:1]) / units, 0.0)
    smaller = np.minimum(arms.n[1:], arms.n[:1])
    return np.asarray(np.minimum(share, 1 - share) * smaller < MIN_EVENTS)
