"""Anytime-valid inference: asymptotic confidence sequences, so that every daily look may be acted on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from exp_platform.stats.effect import Effect
from exp_platform.stats.sufficient import Array

DEFAULT_PLANNED_USERS = 10_000


def with_anytime(effect: Effect, planned_users: int | None = None) -> Effect:
    """The same results with their anytime-valid columns, on the units of both arms as they are at this look.

    `planned_users` is the registry's and fixed at the start (default 10,000): tuning it to the current n would void
    the guarantee.
    """
    rho2 = tuning(effect.alpha, planned_users or DEFAULT_PLANNED_USERS)
    n = effect.control_n + effect.treatment_n
    with np.errstate(all="ignore"):
        factor = half_width(n, rho2, effect.alpha)
        return replace(
            effect,
            anytime_ci_low=effect.effect_abs - factor * effect.se_abs,
            anytime_ci_high=effect.effect_abs + factor * effect.se_abs,
            anytime_p_value=always_valid_p(effect.effect_abs / effect.se_abs, n, rho2),
            anytime_rel_ci_low=effect.effect_rel - factor * effect.se_rel,
            anytime_rel_ci_high=effect.effect_rel + factor * effect.se_rel,
            anytime_p_value_rel=always_valid_p(effect.effect_rel / effect.se_rel, n, rho2),
        )


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
