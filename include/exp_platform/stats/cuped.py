"""CUPED: regression on pre-period covariates, one theta for all arms, for means and ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.ab import obstacles, shares_of
from exp_platform.stats.arm import Arm, Base
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Effect, compare
from exp_platform.stats.error import larger, shrunk, welch
from exp_platform.stats.moments import ROUNDING, Linear, linearise, to_arm, too_skewed
from exp_platform.stats.ratio import carried, ratio_obstacles
from exp_platform.stats.reasons import Reason
from exp_platform.stats.sufficient import Array, SufficientStatistics

NO_COVARIATE = "no_usable_covariate"
WIDENS = "covariate_widens_the_interval"
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
    with_denominator: Array | None = None,
    used: NDArray[np.bool_] | None = None,
    cost: Array | float = 1.0,
    notes: Sequence[Reason] = (),
) -> Effect:
    """Covariate-adjusted effect of each treatment against control: axis 0 of `arms` is the arm, control first.

    Theta and the covariates' mean are pooled over all arms given, so that control's adjusted mean is the same in
    every comparison. Where no covariate varies the plain estimate stands, with the reason `no_usable_covariate`.
    A covariate that repeats others adds nothing and does no harm (pseudo-inverse). With two arms the interval is never
    wider than the plain one; with more, theta suits all of them together, and a comparison that it widens says so.
    `with_denominator` is as in `ratio_effect`. `covariates.adjusted_effect` says which covariates are `used`, by which
    factor the variance grows for estimating them (`cost`), and further reasons (`notes`).
    """
    linear = linearise(arms, ratio=ratio)
    theta = pooled_theta(linear, used)
    plain, arm = to_arm(linear.n, linear.mean, linear.ss), adjusted_arm(linear, theta.value)
    arm = replace(arm, var_mean=arm.var_mean * cost)
    base = adjusted_base(linear, theta.value, arm)
    insufficient: list[Reason] = obstacles(arms, binary=binary, ratio=ratio)
    if ratio:
        insufficient = [*ratio_obstacles(arms, min_units, with_denominator), *insufficient]
        plain, arm = (carried(side, arms, with_denominator) for side in (plain, arm))
    own, adjusted = (welch(side[:1], side[1:]) for side in (plain, arm))
    with np.errstate(all="ignore"):
        left = np.where(own.variance > 0, adjusted.variance / own.variance, np.nan)
    effect = compare(
        arm[:1],
        arm[1:],
        alpha=alpha,
        min_units=min_units,
        base=base,
        error=shrunk(larger(plain[:1], plain[1:], too_skewed(arms)), own, adjusted),
        shares=shares_of(arms, arm, np.where(np.isfinite(left), np.sqrt(left), 1.0)) if binary else None,
        insufficient=insufficient,
        notes=[(~theta.usable, NO_COVARIATE), (left > 1 + ROUNDING, WIDENS), *notes],
    )
    return replace(effect, variance_reduction=np.where(effect.ok & np.isfinite(left), 1 - left, np.nan))


def pooled_theta(linear: Linear, used: NDArray[np.bool_] | None = None) -> Theta:
    """The coefficients with which the adjusted means of the arms vary least in sum; arms under two units are left out.

    Every arm's covariances count by their weight in that sum, 1 / n: with uneven arms the error is the small arm's,
    and a slope that suits the large one can make it larger. With equal arms it is Σ S_xx⁻¹ Σ S_xu, each centred in
    its own arm. Where `used` is False a covariate has the coefficient 0.
    """
    ss_xx, ss_xu = weighted(linear)
    with np.errstate(all="ignore"):
        scale = np.sqrt(np.diagonal(ss_xx, axis1=-2, axis2=-1))
        # Squares of values beyond 1e150 add up to infinity.
        varies: NDArray[np.bool_] = np.asarray((scale > 0) & np.isfinite(scale))
        if used is not None:
            varies = varies & used
        safe = np.where(varies, scale, 1.0)
        if scale.shape[-1] <= 1:
            value = np.where(varies, ss_xu / safe**2, 0.0)
        else:
            both = varies[..., :, None] & varies[..., None, :]
            correlation = np.where(both, ss_xx / (safe[..., :, None] * safe[..., None, :]), 0.0)
            inverse = np.linalg.pinv(_or_zero(correlation), rcond=COLLINEAR, hermitian=True)
            value = (inverse @ np.where(varies, ss_xu / safe, 0.0)[..., None])[..., 0] / safe
    usable: NDArray[np.bool_] = np.asarray(varies.any(axis=-1))
    return Theta(np.where(usable[..., None] & np.isfinite(value), value, 0.0), usable)


def weighted(linear: Linear) -> tuple[Array, Array]:
    """Centred Σ x x and Σ x u over the arms, each arm by its weight; arms under two units are left out."""
    counted = (linear.n > 1) & np.isfinite(linear.ss)
    with np.errstate(all="ignore"):
        weight = linear.n.max(axis=0) ** 2 / (linear.n * (linear.n - 1))
        ss_xx = np.where(counted[..., None, None], weight[..., None, None] * linear.ss_xx, 0.0).sum(axis=0)
        ss_xu = np.where(counted[..., None], weight[..., None] * linear.ss_x, 0.0).sum(axis=0)
    return ss_xx, ss_xu


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
