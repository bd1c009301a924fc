"""Difference-in-differences: difference of mean changes from a pre-period as long as the metric's window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.causal.lacking import lacking
from exp_platform.stats.effect import (
    DEFAULT_ALPHA,
    DEFAULT_MIN_UNITS,
    Arm,
    Base,
    Effect,
    Reason,
    compare,
    satterthwaite,
)
from exp_platform.stats.moments import ROUNDING, centred_matrix
from exp_platform.stats.sufficient import Array, SufficientStatistics
from exp_platform.stats.thresholds import DID_UNITS_PER_DATE

UNIT_LEVEL_ERRORS = "unit_level_errors"
DATES_LEFT_OUT = "cohort_dates_without_both_arms"
UNEVEN_DATES = "cohort_dates_too_uneven"
MIN_EFFECTIVE = 10  # effective units of an arm over several dates, below which its error is not known


@dataclass(frozen=True, eq=False)
class BeforeAndAfter:
    """Means of control and of each treatment in the two periods; lead as that of the effect, NaN is null."""

    control_before: Array
    control_after: Array
    treatment_before: Array
    treatment_after: Array


@dataclass(frozen=True, eq=False)
class PrePost:
    """Each arm's level before and after, linearised, with the sampling covariance of the two."""

    n: Array
    post: Array
    pre: Array
    sd: Array  # of the post value between units
    var_change: Array  # sampling variance of post − pre
    var_pre: Array
    cov_change_pre: Array


def did_effect(
    arms: SufficientStatistics,
    *,
    ratio: bool = False,
    binary: bool = False,
    rollout: bool = False,
    by_cohort_date: bool = False,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """Change of each treatment minus change of control over mature units: axis 0 is the arm, control first.

    With `by_cohort_date` axis 1 is the cohort date: the effect is taken within each date and weighted by its treated
    units, as a rollout needs; dates with under two units in an arm are left out and named in `reason`. The relative
    effect is relative to the counterfactual, treatment's post mean − effect. Variance is between units; for a rollout
    the reason `unit_level_errors` says so. `control_mean`, `treatment_mean` and the sds are those of the post period;
    `before_and_after` has the means of both periods.
    """
    if not by_cohort_date:
        arms = arms[:, None]
    control, treatment = _pairs(pre_post(arms, ratio=ratio))
    weight, left_out = cohort_weights(control.n, treatment.n, defined(control) & defined(treatment))
    notes: list[Reason] = [(left_out, DATES_LEFT_OUT)]
    if rollout:
        notes.append((True, UNIT_LEVEL_ERRORS))
    return compare(
        _weighted_arm(control, weight),
        _weighted_arm(treatment, weight),
        effect_abs=_sum(weight, treatment.post - treatment.pre - control.post + control.pre),
        base=_counterfactual(control, treatment, weight),
        alpha=alpha,
        min_units=min_units,
        insufficient=[*lacking(arms, weight, ratio=ratio, binary=binary), uneven(weight, control.n)],
        notes=notes,
    )


def before_and_after(
    arms: SufficientStatistics, *, ratio: bool = False, by_cohort_date: bool = False
) -> BeforeAndAfter:
    """Mean of each arm in both periods, weighted over cohort dates as the effect is; the effect is what they leave."""
    if not by_cohort_date:
        arms = arms[:, None]
    control, treatment = _pairs(pre_post(arms, ratio=ratio))
    weight, _ = cohort_weights(control.n, treatment.n, defined(control) & defined(treatment))
    return BeforeAndAfter(*(_sum(weight, level) for side in (control, treatment) for level in (side.pre, side.post)))


def pre_post(arms: SufficientStatistics, *, ratio: bool = False) -> PrePost:
    """Levels and their covariance from did_v = (y, pre_y), or (y, d, pre_y, pre_d) for a ratio; any leading axes."""
    with np.errstate(all="ignore"):
        n = arms.did_n
        gradient, levels = linear_map(arms, ratio=ratio)
        ss = gradient @ centred_matrix(n, arms.did_v, arms.did_vv) @ np.swapaxes(gradient, -1, -2)
        cov = ss / (n * (n - 1))[..., None, None]
        post, pre, cross = cov[..., 0, 0], cov[..., 1, 1], cov[..., 0, 1]
        change = post + pre - 2 * cross
        return PrePost(
            n=n,
            post=levels[..., 0],
            pre=levels[..., 1],
            sd=np.sqrt(post * n),
            var_change=np.where(change <= ROUNDING * (post + pre), 0.0, change),
            var_pre=pre,
            cov_change_pre=cross - pre,
        )


def linear_map(arms: SufficientStatistics, *, ratio: bool) -> tuple[Array, Array]:
    """Matrix (2 × m) that turns a unit's moments into its linearised (post, pre), and the arm's (post, pre) levels."""
    with np.errstate(all="ignore"):
        mean = arms.did_v / arms.did_n[..., None]
        if not ratio:
            return np.broadcast_to(np.eye(2), (*arms.lead, 2, 2)), mean
        gradient = np.zeros((*arms.lead, 2, 4))
        levels = mean[..., [0, 2]] / mean[..., [1, 3]]
        levels = np.where(np.isfinite(levels), levels, np.nan)  # with nothing to divide by there is no level
        for row, column in ((0, 0), (1, 2)):
            gradient[..., row, column] = 1 / mean[..., column + 1]
            gradient[..., row, column + 1] = -levels[..., row] / mean[..., column + 1]
        return gradient, levels


def defined(levels: PrePost) -> NDArray[np.bool_]:
    """Where an arm has a level before and after: not for a ratio without a denominator."""
    return np.isfinite(levels.post) & np.isfinite(levels.pre)


def cohort_weights(
    control_n: Array, treatment_n: Array, has_levels: NDArray[np.bool_] | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """Share of treated units of each cohort date (axis 1) with two units in both arms, and where treated are lost.

    One date of several whose levels do not exist (`has_levels`) is left out too: it must not take the others with it.
    """
    usable = (control_n >= DID_UNITS_PER_DATE) & (treatment_n >= DID_UNITS_PER_DATE)
    if has_levels is not None and control_n.shape[1] > 1:
        usable &= has_levels
    treated = np.where(usable, treatment_n, 0.0)
    with np.errstate(all="ignore"):
        weight = treated / treated.sum(axis=1, keepdims=True)
    # A single date that lacks units is not "left out": the arm is simply too small, which its own status says.
    several = control_n.shape[1] > 1
    return np.where(np.isfinite(weight), weight, 0.0), several & (~usable & (treatment_n > 0)).any(axis=1)


def effective_units(weight: Array, n: Array) -> Array:
    """Units of one arm that would know the weighted mean as well, had they all come on one date (axis 1 is the date).

    Treatment's are its units, because the weights are their shares; control's are fewer the more its dates differ.
    """
    with np.errstate(all="ignore"):
        lost = np.where(weight > 0, weight**2 / n, 0.0).sum(axis=1)
        return np.where(lost > 0, 1 / lost, 0.0)


def uneven(weight: Array, control_n: Array) -> Reason:
    """Where a date with a handful of control units carries the effect: their spread is the error, and is not known."""
    several = (weight > 0).sum(axis=1) > 1
    return several & (effective_units(weight, control_n) < MIN_EFFECTIVE), UNEVEN_DATES


def _pairs(levels: PrePost) -> tuple[PrePost, PrePost]:
    control = {name: np.broadcast_to(value[:1], value[1:].shape) for name, value in vars(levels).items()}
    return PrePost(**control), PrePost(**{name: value[1:] for name, value in vars(levels).items()})


def _weighted_arm(levels: PrePost, weight: Array) -> Arm:
    """One arm over the cohort dates: its post mean, and the variance of its change."""
    part = _part(weight**2, levels.var_change)
    used = np.where(weight > 0, levels.n, 0.0)
    with np.errstate(all="ignore"):
        variance = part.sum(axis=1)
        freedom = np.where(weight > 0, levels.n - 1, 1.0)
        df = 1 / ((part / variance[:, None]) ** 2 / freedom).sum(axis=1)
        spread = np.sqrt(_part(weight, levels.sd**2).sum(axis=1))
    return Arm(used.sum(axis=1), _sum(weight, levels.post), spread, variance, df)


def _counterfactual(control: PrePost, treatment: PrePost, weight: Array) -> Base:
    """Treatment's post mean had it changed as control did."""
    square = weight**2
    own, change = _part(square, treatment.var_pre).sum(axis=1), _part(square, control.var_change).sum(axis=1)
    freedom = [np.where(weight > 0, side.n - 1, 0.0).sum(axis=1) for side in (treatment, control)]
    with np.errstate(all="ignore"):
        return Base(
            mean=_sum(weight, treatment.pre + control.post - control.pre),
            var=own + change,
            cov_effect=_part(square, treatment.cov_change_pre).sum(axis=1) - change,
            df=satterthwaite((own, change), freedom),
        )


def _part(weight: Array, value: Array) -> Array:
    return np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0)


def _sum(weight: Array, value: Array) -> Array:
    return np.where((weight > 0).any(axis=1), _part(weight, value).sum(axis=1), np.nan)
