"""Planning: how many units, for how many days, for which effect (statsmodels does the arithmetic)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from exp_platform.stats.effect import DEFAULT_ALPHA, POWER
from exp_platform.stats.sufficient import Array


@dataclass(frozen=True)
class SamplePlan:
    """Units that an effect needs, and how long they take at a given rate."""

    effect_abs: float  # metric's unit
    units_control: int
    units_treatment: int
    units_total: int  # of these two arms
    days: int | None  # null without a rate


def required_units(
    sd: float,
    effect_abs: float,
    *,
    alpha: float = DEFAULT_ALPHA,
    power: float = POWER,
    treatment_per_control: float = 1.0,
    units_per_day: float | None = None,
) -> SamplePlan:
    """Units for a two-sided t test to find `effect_abs` between units that spread with `sd`.

    `units_per_day` counts new units of both arms together. Multiply sd by √(1 − variance reduction) to plan for CUPED.
    """
    for name, value in (("sd", sd), ("effect_abs", abs(effect_abs)), ("treatment_per_control", treatment_per_control)):
        if not value > 0 or not math.isfinite(value):
            raise ValueError(f"{name} == {value}, must be a finite number above 0")
    control = TTestIndPower().solve_power(
        effect_size=abs(effect_abs) / sd, alpha=alpha, power=power, ratio=treatment_per_control
    )
    units_control = max(2, math.ceil(float(np.squeeze(control))))
    units_treatment = max(2, math.ceil(float(np.squeeze(control)) * treatment_per_control))
    total = units_control + units_treatment
    days = math.ceil(total / units_per_day) if units_per_day and units_per_day > 0 else None
    return SamplePlan(abs(effect_abs), units_control, units_treatment, total, days)


def required_units_binary(rate: float, effect_abs: float, **options: Any) -> SamplePlan:
    """As `required_units` for a share of units: the spread is that of the two rates, averaged."""
    other = rate + effect_abs
    for name, value in (("rate", rate), ("rate + effect_abs", other)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} == {value}, must be between 0 and 1")
    return required_units(math.sqrt((rate * (1 - rate) + other * (1 - other)) / 2), effect_abs, **options)


def power_of(effect_abs: Any, se: Any, df: Any, alpha: float = DEFAULT_ALPHA) -> Array:
    """Chance that a two-sided t test at alpha finds a true effect, given the standard error that it will have."""
    critical = stats.t.ppf(1 - alpha / 2, df)
    shift = np.abs(np.asarray(effect_abs, dtype=float)) / se
    return np.asarray(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))


def days_to_planned(units: float, days_so_far: float, planned_units: float) -> int | None:
    """Further days until `planned_units` at the rate so far; 0 when reached, null without a rate."""
    if units >= planned_units:
        return 0
    if units <= 0 or days_so_far <= 0:
        return None
    return math.ceil((planned_units - units) / (units / days_so_far))
