"""Difference of means between a treatment and control: mean, sum, count, binary and retention metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.effect import (
    DEFAULT_ALPHA,
    DEFAULT_MIN_UNITS,
    TOO_FEW_EVENTS,
    Arm,
    Effect,
    Reason,
    compare,
)
from exp_platform.stats.moments import linearise, to_arm
from exp_platform.stats.sufficient import SufficientStatistics

MIN_EVENTS = 10  # of a binary metric, with and without the event, in both arms together


def mean_effect(
    arms: SufficientStatistics,
    *,
    binary: bool = False,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """Difference of means of each treatment against control: axis 0 of `arms` is the arm, control first.

    The result has the shape of `arms.lead` with one arm less: element [a − 1, …] compares arm a with arm 0.
    """
    arm = mean_arm(arms)
    rare = [(too_few_events(arms), TOO_FEW_EVENTS)] if binary else []
    return against_control(arm, alpha=alpha, min_units=min_units, insufficient=rare)


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
    """Compare every arm of axis 0 with the first one."""
    return compare(
        arm[:1], arm[1:], alpha=alpha, min_units=min_units, insufficient=insufficient or [], notes=notes or []
    )


def too_few_events(arms: SufficientStatistics) -> NDArray[np.bool_]:
    """Where a binary metric has fewer than 10 units with, or 10 without, the event in both arms together."""
    events = arms.y[1:] + arms.y[:1]
    units = arms.n[1:] + arms.n[:1]
    return (events < MIN_EVENTS) | (units - events < MIN_EVENTS)
