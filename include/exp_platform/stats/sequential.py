"""Anytime-valid inference: asymptotic confidence sequences, so that every daily look may be acted on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from exp_platform.stats.effect import Effect, bounds, score
from exp_platform.stats.student import POWER, t_quantile
from exp_platform.stats.sufficient import Array

DEFAULT_PLANNED_USERS = 10_000
BASE_NOT_KNOWN_YET = "control_mean_near_zero_until_the_end"


def with_anytime(effect: Effect, planned_users: int | None = None) -> Effect:
    """Fill the anytime-valid columns of results, on the units of both arms as they are at this look.

    `planned_users` is the registry's and fixed at the start (default 10,000): tuning it to the current n would void
    the guarantee. The sequence's factor takes the place of t, in the relative interval too: where the base is not
    that far from 0 there is none, though the fixed one may exist.
    """
    rho2 = tuning(effect.alpha, planned_users or DEFAULT_PLANNED_USERS)
    n = effect.control_n + effect.treatment_n
    with np.errstate(all="ignore"):
        low, high, rel_low, rel_high = bounds(effect, half_width(n, rho2, effect.alpha))
        p_value = always_valid_p(score(effect), n, rho2)
        known = np.isfinite(effect.effect_rel) & np.isfinite(rel_low)
        lost = effect.ok & np.isfinite(effect.effect_rel) & ~known
        joined = np.where(effect.reason == "", BASE_NOT_KNOWN_YET, effect.reason + f", {BASE_NOT_KNOWN_YET}")
        return replace(
            effect,
            anytime_ci_low=low,
            anytime_ci_high=high,
            anytime_p_value=p_value,
            anytime_rel_ci_low=np.where(known, rel_low, np.nan),
            anytime_rel_ci_high=np.where(known, rel_high, np.nan),
            anytime_p_value_rel=np.where(known, p_value, np.nan),
            reason=np.where(lost, joined, effect.reason),
        )


def with_anytime_mde(effect: Effect, planned_users: int | None = None) -> Effect:
    """Put the detectable effect of the anytime-valid test at this look in place of the fixed test's."""
    rho2 = tuning(effect.alpha, planned_users or DEFAULT_PLANNED_USERS)
    with np.errstate(all="ignore"):
        factor = half_width(effect.control_n + effect.treatment_n, rho2, effect.alpha)
        mde = (factor + t_quantile(POWER, effect.df)) * effect.se_abs
        relative = np.where(np.isfinite(effect.mde_rel), mde / np.abs(effect.base_mean), np.nan)
        return replace(effect, mde=mde, mde_rel=relative)


def tuning(alpha: Any, planned_users: int) -> Array:
    """ρ² that makes the sequence tightest near `planned_users` units of both arms."""
    log_alpha = np.log(np.asarray(alpha, dtype=float))
    return np.asarray((-2 * log_alpha + np.log(1 - 2 * log_alpha)) / planned_users)


def half_width(n: Any, rho2: Any, alpha: Any) -> Array:
    """Half-width of the confidence sequence in standard errors, at n units of both arms."""
    n_rho2 = np.asarray(n, dtype=float) * rho2
    return np.asarray(np.sqrt((1 + n_rho2) / n_rho2 * np.log((1 + n_rho2) / np.asarray(alpha) ** 2)))


def always_valid_p(z: Any, n: Any, rho2: Any) -> Array:
    """Always-valid p of z = effect / se at n units of both arms; below alpha exactly where the interval excludes 0."""
    n_rho2 = np.asarray(n, dtype=float) * rho2
    log_p = 0.5 * np.log1p(n_rho2) - np.asarray(z, dtype=float) ** 2 * n_rho2 / (2 * (1 + n_rho2))
    return np.asarray(np.exp(np.minimum(log_p, 0.0)))
