"""From two arms to a result: a t test on any estimate that comes with its variance, absolute and relative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.arm import Arm, Base
from exp_platform.stats.error import Error, satterthwaite, welch
from exp_platform.stats.reasons import (
    BASE_NEAR_ZERO,
    BELOW_MIN_UNITS,
    BEYOND_PRECISION,
    NO_VARIANCE,
    NOT_FINITE,
    TOO_FEW_EVENTS,
    Reason,
    any_of,
    join_reasons,
)
from exp_platform.stats.relative import BEYOND_MEANING, fieller
from exp_platform.stats.score import Shares, difference_bounds, normal_score, null_error, ratio_bounds
from exp_platform.stats.student import POWER, detectable, t_quantile, two_sided_p
from exp_platform.stats.sufficient import Array
from exp_platform.status import ResultStatus

__all__ = (
    "BASE_NEAR_ZERO",
    "BELOW_MIN_UNITS",
    "BEYOND_PRECISION",
    "DEFAULT_ALPHA",
    "DEFAULT_MIN_UNITS",
    "NOT_FINITE",
    "NO_VARIANCE",
    "POWER",
    "TOO_FEW_EVENTS",
    "Arm",
    "Base",
    "Effect",
    "Error",
    "Reason",
    "Shares",
    "blank",
    "bounds",
    "compare",
    "detectable",
    "join_reasons",
    "satterthwaite",
    "score",
    "t_quantile",
    "two_sided_p",
)

DEFAULT_ALPHA = 0.05
DEFAULT_MIN_UNITS = 100


@dataclass(frozen=True, eq=False)
class Effect:
    """One result per element: treatment minus control, named as the columns of exp.analysis_results.

    Absolute numbers are in the metric's unit, relative ones are fractions (0.02 = +2%). NaN stands for null and only
    for null: `status` and `reason` say why. Infinity never appears. `as_columns` turns NaN into None.
    """

    control_n: Array
    control_mean: Array
    control_sd: Array
    treatment_n: Array
    treatment_mean: Array
    treatment_sd: Array
    effect_abs: Array
    se_abs: Array  # for a share: if both arms had one share
    df: Array
    effect_abs_ci_low: Array
    effect_abs_ci_high: Array
    p_value: Array  # two-sided
    effect_rel: Array
    se_rel: Array  # by the delta method; the interval is Fieller's, or the ratio's of two shares
    effect_rel_ci_low: Array
    effect_rel_ci_high: Array
    p_value_rel: Array  # p_value, where there is a relative effect
    anytime_ci_low: Array  # absolute scale; null until `sequential.with_anytime` has filled it
    anytime_ci_high: Array
    anytime_p_value: Array
    anytime_rel_ci_low: Array
    anytime_rel_ci_high: Array
    anytime_p_value_rel: Array
    variance_reduction: Array  # of the effect's variance against the plain estimate; null where no covariate is in play
    mde: Array  # absolute effect found with 80% power at the current n
    mde_rel: Array  # the same as a fraction of the base
    alpha: Array
    status: NDArray[Any]  # words of ResultStatus
    reason: NDArray[Any]  # words joined by ", "; empty where there is nothing to say
    # No columns, but what an interval at another critical value needs: the base with its variance and its covariance
    # with the effect; for shares the units with the event and what a covariate leaves of the error, else NaN.
    base_mean: Array
    base_var: Array
    base_cov: Array
    control_events: Array
    treatment_events: Array
    shrink: Array

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.effect_abs.shape

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Where there is an answer."""
        return np.asarray(self.status == ResultStatus.OK.value)

    def __getitem__(self, index: Any) -> Effect:
        """Index the leading axes."""
        return Effect(**{f.name: np.asarray(getattr(self, f.name)[index]) for f in fields(self)})

    def as_columns(self) -> dict[str, list[Any]]:
        """Columns of plain Python values in C order of the leading axes, null as None."""
        return {f.name: _as_list(getattr(self, f.name)) for f in fields(self) if f.name not in INNER}


INNER = ("base_mean", "base_var", "base_cov", "control_events", "treatment_events", "shrink")
ANSWERS = tuple(f.name for f in fields(Effect) if f.name.startswith(("effect", "se_", "df", "p_", "any", "var", "mde")))


def compare(
    control: Arm,
    treatment: Arm,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
    base: Base | None = None,
    effect_abs: Array | None = None,
    error: Error | None = None,
    shares: Shares | None = None,
    insufficient: Sequence[Reason] = (),
    notes: Sequence[Reason] = (),
) -> Effect:
    """Treatment minus control for each element.

    `error` defaults to Welch's, `base` to control's mean, `effect_abs` to the difference of the two means. `shares`
    makes it a score test. `insufficient` are further conditions that leave an element without an answer; `notes` are
    reasons that do not.
    """
    with np.errstate(all="ignore"):
        effect = np.asarray(treatment.mean - control.mean if effect_abs is None else effect_abs, dtype=float)
        error = error or welch(control, treatment)
        base = base or Base(control.mean, control.var_mean, -control.var_mean, control.df)
        known = np.abs(base.mean) > t_quantile(1 - alpha / 2, np.asarray(base.df)) * np.sqrt(base.var)
        grown = error.of_base(base)
        se = np.sqrt(error.variance) if shares is None else null_error(shares)
        df = error.df if shares is None else control.n + treatment.n - 2
        unusable = _unusable(control.n, treatment.n, min_units, insufficient, (effect, se, df))
        ok = np.broadcast_to(~any_of(unusable), effect.shape)
        inner = (grown.mean, grown.var, grown.cov_effect, *_share_fields(shares))
        mde = detectable(se, df, alpha)
        result = Effect(
            **{name: np.full(effect.shape, np.nan) for name in ANSWERS},
            **_describe("control", control, effect.shape),
            **_describe("treatment", treatment, effect.shape),
            alpha=np.full(effect.shape, alpha),
            status=np.where(ok, ResultStatus.OK.value, ResultStatus.INSUFFICIENT_DATA.value),
            reason=np.full(effect.shape, "", dtype=object),
            **{name: np.broadcast_to(value, effect.shape) for name, value in zip(INNER, inner, strict=True)},
        )
        result = blank(replace(result, effect_abs=effect, se_abs=se, df=df, mde=mde), ~ok)
        result = _answered(result, t_quantile(1 - alpha / 2, df), np.broadcast_to(known, effect.shape))
        near_zero = ok & ~np.isfinite(result.effect_rel)
        return replace(result, reason=join_reasons([*unusable, (near_zero, BASE_NEAR_ZERO), *notes], effect.shape))


def bounds(effect: Effect, critical: Array) -> tuple[Array, Array, Array, Array]:
    """Low and high of the interval at ± critical standard errors, absolute and relative; NaN where there is none."""
    with np.errstate(all="ignore"):
        half = critical * effect.se_abs
        low, high = effect.effect_abs - half, effect.effect_abs + half
        base, variance = effect.base_mean, effect.se_abs**2
        rel_low, rel_high, known = fieller(
            effect.effect_abs, variance, base, effect.base_var, effect.base_cov, critical
        )
        share = effect.ok & np.isfinite(effect.shrink)
        if share.any():
            shares, at = _shares_of(effect, share), np.broadcast_to(critical, effect.lead)[share]
            low[share], high[share] = difference_bounds(shares, at)
            rel_low[share], rel_high[share] = (value - 1 for value in ratio_bounds(shares, at))
            known[share] = (shares.control_events > 0) & (shares.control > 0) & np.isfinite(rel_high[share])
        return low, high, np.where(known, rel_low, np.nan), np.where(known, rel_high, np.nan)


def score(effect: Effect) -> Array:
    """Signed score of each effect against 0: beyond ± critical exactly where `bounds` at critical exclude 0."""
    with np.errstate(all="ignore"):
        z = np.asarray(effect.effect_abs / effect.se_abs)
        share = effect.ok & np.isfinite(effect.shrink)
        if share.any():
            z[share] = normal_score(_shares_of(effect, share))
        return z


def blank(effect: Effect, where: Any) -> Effect:
    """Null out the answers of some elements; what describes the arms stays."""
    return replace(effect, **{name: np.where(where, np.nan, getattr(effect, name)) for name in ANSWERS})


def _answered(effect: Effect, critical: Array, base_known: NDArray[np.bool_]) -> Effect:
    """The result with p and intervals; no relative answers where the base's own interval holds 0."""
    p_value = two_sided_p(score(effect), effect.df)
    low, high, rel_low, rel_high = bounds(effect, critical)
    size = np.abs(effect.base_mean)
    ratio = effect.effect_abs / size
    # Divided twice, because the square of a tiny mean is 0.
    variance = (
        effect.se_abs**2 - 2 * effect.effect_abs / effect.base_mean * effect.base_cov + ratio**2 * effect.base_var
    )
    relative = {
        "effect_rel": ratio,
        "se_rel": np.sqrt(np.maximum(variance / size / size, 0.0)),
        "effect_rel_ci_low": rel_low,
        "effect_rel_ci_high": rel_high,
        "p_value_rel": p_value,
        "mde_rel": effect.mde / size,
    }
    known = np.isfinite(rel_low) & (base_known | np.isfinite(effect.shrink)) & (relative["se_rel"] < BEYOND_MEANING)
    relative = {name: np.where(known, value, np.nan) for name, value in relative.items()}
    return replace(effect, p_value=p_value, effect_abs_ci_low=low, effect_abs_ci_high=high, **relative)


def _unusable(
    control_n: Array, treatment_n: Array, min_units: int, insufficient: Sequence[Reason], answers: tuple[Array, ...]
) -> list[Reason]:
    """Why elements have no answer, the first reasons first; `answers` are effect, standard error and df."""
    needed = max(min_units, 2)
    few = (control_n < needed) | (treatment_n < needed)
    hidden = any_of([reason for reason in insufficient if reason[1] == BEYOND_PRECISION])
    reasons = [(few, BELOW_MIN_UNITS), *insufficient, (~few & ~hidden & (answers[1] <= 0), NO_VARIANCE)]
    finite = np.all([np.isfinite(values) for values in np.broadcast_arrays(*answers)], axis=0)
    return [*reasons, (~any_of(reasons) & ~finite, NOT_FINITE)]


def _share_fields(shares: Shares | None) -> tuple[Any, Any, Any]:
    if shares is None:
        return np.nan, np.nan, np.nan
    return shares.control_events, shares.treatment_events, shares.shrink


def _shares_of(effect: Effect, where: NDArray[np.bool_]) -> Shares:
    return Shares(
        control_events=effect.control_events[where],
        control_n=effect.control_n[where],
        treatment_events=effect.treatment_events[where],
        treatment_n=effect.treatment_n[where],
        control=effect.control_mean[where],
        treatment=effect.treatment_mean[where],
        shrink=effect.shrink[where],
    )


def _describe(prefix: str, arm: Arm, shape: tuple[int, ...]) -> dict[str, Array]:
    values = {"n": arm.n, "mean": arm.mean, "sd": arm.sd}
    return {
        f"{prefix}_{name}": np.broadcast_to(np.where(np.isfinite(value), value, np.nan), shape)
        for name, value in values.items()
    }


def _as_list(values: NDArray[Any]) -> list[Any]:
    flat = np.asarray(values).ravel()
    if flat.dtype.kind != "f":
        return [str(value) for value in flat]
    return [None if np.isnan(value) else value for value in flat.tolist()]
