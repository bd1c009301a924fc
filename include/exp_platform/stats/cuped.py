"""CUPED: regression on pre-period covariates, one theta for all arms, for means and ratios."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.ab import against_control, too_few_events
from exp_platform.stats.effect import (
    DEFAULT_ALPHA,
    DEFAULT_MIN_UNITS,
    TOO_FEW_EVENTS,
    Arm,
    Base,
    Effect,
    Reason,
    compare,
)
from exp_platform.stats.moments import ROUNDING, Linear, linearise, to_arm
from exp_platform.stats.ratio import zero_denominator
from exp_platform.stats.sufficient import Array, SufficientStatistics

NO_COVARIATE = "no_usable_covariate"
# Eigenvalues of the covariates' correlation matrix below this count as collinear.
COLLINEAR = 1e-10


@dataclass(frozen=True, eq=False)
class Theta:
    """Coefficients of the covariates, shared by all arms; shape lead without the arm axis, + (k,)."""

    value: Array
    usable: NDArray[np.bool_]  # False where no covariate varies: theta is 0 and CUPED is the plain estimate


def cuped_effect(
    arms: SufficientStatistics,
    *,
    ratio: bool = False,
    binary: bool = False,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """Covariate-adjusted effect of each treatment against control: axis 0 of `arms` is the arm, control first.

    Theta and the covariates' mean are pooled over all arms given, so that control's adjusted mean is the same in
    every comparison. Where no covariate varies the plain estimate stands, with the reason `no_usable_covariate`.
    A covariate that repeats others adds nothing and does no harm (pseudo-inverse).
    """
    linear = linearise(arms, ratio=ratio)
    theta = pooled_theta(linear)
    insufficient: list[Reason] = [zero_denominator(arms)] if ratio else []
    if binary:
        insufficient.append((too_few_events(arms), TOO_FEW_EVENTS))
    adjusted = compare(
        (arm := adjusted_arm(linear, theta.value))[:1],
        arm[1:],
        alpha=alpha,
        min_units=min_units,
        base=adjusted_base(linear, theta.value, arm),
        insufficient=insufficient,
        notes=[(~theta.usable, NO_COVARIATE)],
    )
    plain = against_control(to_arm(linear.n, linear.mean, linear.ss), alpha=alpha, min_units=min_units)
    with np.errstate(all="ignore"):
        reduction = 1 - (adjusted.se_abs / plain.se_abs) ** 2
    return replace(adjusted, variance_reduction=reduction)


def pooled_theta(linear: Linear) -> Theta:
    """Σ_arms S_xx⁻¹ Σ_arms S_xu over axis 0, each centred in its own arm; arms with under two units are left out."""
    counted = (linear.n > 1) & np.isfinite(linear.ss)
    ss_xx = np.where(counted[..., None, None], linear.ss_xx, 0.0).sum(axis=0)
    ss_xu = np.where(counted[..., None], linear.ss_x, 0.0).sum(axis=0)
    scale = np.sqrt(np.diagonal(ss_xx, axis1=-2, axis2=-1))
    varies = scale > 0
    safe = np.where(varies, scale, 1.0)
    if scale.shape[-1] <= 1:
        value = np.where(varies, ss_xu / safe**2, 0.0)
    else:
        correlation = ss_xx / (safe[..., :, None] * safe[..., None, :])
        inverse = np.linalg.pinv(correlation, rcond=COLLINEAR, hermitian=True)
        value = (inverse @ (ss_xu / safe)[..., None])[..., 0] / safe
    usable = varies.any(axis=-1)
    return Theta(np.where(usable[..., None] & np.isfinite(value), value, 0.0), usable)


def adjusted_arm(linear: Linear, theta: Array) -> Arm:
    """Each arm's mean of u − theta·(x − pooled mean of x), with the variance of that adjusted value."""
    with np.errstate(all="ignore"):
        ss_theta = (linear.ss_xx * theta[..., None, :]).sum(axis=-1)
        ss = linear.ss - 2 * (theta * linear.ss_x).sum(axis=-1) + (theta * ss_theta).sum(axis=-1)
        ss = np.where(ss <= ROUNDING * linear.ss, 0.0, ss)
        shift = (theta * (_or_zero(linear.mean_x) - pooled_mean(linear))).sum(axis=-1)
        return to_arm(linear.n, linear.mean - shift, ss)


def adjusted_base(linear: Linear, theta: Array, arm: Arm) -> Base:
    """Control's adjusted mean as a base: it also moves with the pooled covariate mean, which is itself an estimate."""
    with np.errstate(all="ignore"):
        share = linear.n / linear.n.sum(axis=0)
        ss_theta = (linear.ss_xx * theta[..., None, :]).sum(axis=-1)
        pairs = linear.n * (linear.n - 1)
        var_x = _or_zero((theta * ss_theta).sum(axis=-1) / pairs)  # of theta·mean(x), each arm
        cov_x = _or_zero((theta * (linear.ss_x - ss_theta)).sum(axis=-1) / pairs)  # with the arm's adjusted mean
        var_pool = (share**2 * var_x).sum(axis=0)
        own = (share * cov_x)[:1]
        return Base(
            mean=arm.mean[:1],
            var=arm.var_mean[:1] + var_pool + 2 * own,
            cov_effect=(share * cov_x)[1:] - own - arm.var_mean[:1],
            df=arm.df[:1],
        )


def pooled_mean(linear: Linear) -> Array:
    """Mean of each covariate over the units of all arms."""
    total = (_or_zero(linear.mean_x) * linear.n[..., None]).sum(axis=0)
    return _or_zero(total / linear.n.sum(axis=0)[..., None])


def _or_zero(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)
