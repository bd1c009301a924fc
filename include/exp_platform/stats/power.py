"""Planning: how many units find which effect, and with which chance a harmless guardrail passes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy  # loads scipy.stats where it is first used: most stages and tasks never do
from scipy import special

from exp_platform.stats.effect import DEFAULT_ALPHA, POWER
from exp_platform.stats.sequential import half_width, tuning
from exp_platform.stats.sufficient import Array

EXACT_BELOW = 1e6  # units: above, Student's t and the normal distribution ask for the same number


def required_units(sd: float, effect_abs: float, *, alpha: float = DEFAULT_ALPHA, power: float = POWER) -> int:
    """Units of each of two equal arms with which a two-sided t test finds `effect_abs`; units spread with `sd`.

    `sd` is what covariates leave of the spread.
    """
    units = _units_at(float(special.ndtri(1 - alpha / 2)), sd, effect_abs, power)
    # Student's t never needs fewer units than the normal distribution, and seldom more than two more.
    while units < EXACT_BELOW and power_of(effect_abs, sd * math.sqrt(2 / units), 2 * units - 2, alpha) < power:
        units += 1
    return units


def required_units_anytime(
    sd: float,
    effect_abs: float,
    *,
    alpha: float = DEFAULT_ALPHA,
    power: float = POWER,
    arms: int = 2,
    comparisons: int = 1,
) -> int:
    """Units of each of `arms` equal arms with which the confidence sequence alone finds the effect at the last look.

    The sequence is tuned to the units of all arms, as it is with `planned_users`; each of the `comparisons` is tested
    at its share of alpha.
    """
    # Only the ratio of a pair's units to all arms' counts, so one unit an arm stands for any number.
    factor = float(half_width(2.0, tuning(alpha, arms), alpha / comparisons))
    return _units_at(factor, sd, effect_abs, power)


def share_sd(rate: float, effect_abs: float) -> float:
    """Spread of a share of units: of the two rates, averaged."""
    other = rate + effect_abs
    for name, value in (("rate", rate), ("rate + effect_abs", other)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} == {value}, must be between 0 and 1")
    return math.sqrt((rate * (1 - rate) + other * (1 - other)) / 2)


def power_of(effect_abs: Any, se: Any, df: Any, alpha: float = DEFAULT_ALPHA) -> Array:
    """Chance that a two-sided t test at alpha finds a true effect, given the standard error that it will have."""
    shift = np.abs(np.asarray(effect_abs, dtype=float)) / se
    wrong_side = scipy.stats.nct.cdf(-scipy.stats.t.ppf(1 - alpha / 2, df), df, shift)
    return np.asarray(chance_to_pass(np.abs(effect_abs), se, df, alpha) + wrong_side)


def chance_to_pass(margin: Any, se: Any, df: Any, alpha: float = DEFAULT_ALPHA) -> Array:
    """Chance that the interval of an effect of 0 ends below `margin`, given its standard error."""
    shift = np.asarray(margin, dtype=float) / se
    return np.asarray(scipy.stats.nct.sf(scipy.stats.t.ppf(1 - alpha / 2, df), df, shift))


def days_to_planned(units: float, days_so_far: float, planned_units: float) -> int | None:
    """Further days until `planned_units` at the rate so far; 0 when reached, null without a rate."""
    if units >= planned_units:
        return 0
    if units <= 0 or days_so_far <= 0:
        return None
    return math.ceil((planned_units - units) / (units / days_so_far))


def _units_at(critical: float, sd: float, effect_abs: float, power: float) -> int:
    """Units of each arm at which the effect is `critical` standard errors, and those that `power` asks for, from 0."""
    for name, value in (("sd", sd), ("effect_abs", abs(effect_abs))):
        if not value > 0 or not math.isfinite(value):
            raise ValueError(f"{name} == {value}, must be a finite number above 0")
    return max(2, math.ceil(2 * (sd / effect_abs * (critical + float(special.ndtri(power)))) ** 2))
