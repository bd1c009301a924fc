"""From two arms to a result: Welch on any estimate that comes with its variance, absolute and relative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exp_platform.stats.sufficient import Array
from exp_platform.status import ResultStatus

DEFAULT_ALPHA = 0.05
DEFAULT_MIN_UNITS = 100
POWER = 0.8  # of the minimum detectable effect
BEYOND_MEANING = 1e100  # a relative effect as large as this says that the base is 0 but for rounding

BELOW_MIN_UNITS = "arm_below_min_units"
NO_VARIANCE = "no_variance"
NOT_FINITE = "not_finite"
BASE_NEAR_ZERO = "control_mean_near_zero"
TOO_FEW_EVENTS = "too_few_events"

Reason = tuple[Any, str]  # where it holds (broadcastable mask), the word


@dataclass(frozen=True, eq=False)
class Arm:
    """The level of a metric in one arm, whatever the estimator; arrays of one shape, in the metric's own unit."""

    n: Array  # units with a value
    mean: Array  # mean, ratio, quantile or adjusted mean
    sd: Array  # standard deviation between units of the (linearised, adjusted) value
    var_mean: Array  # sampling variance of `mean`
    df: Array  # degrees of freedom of `var_mean`

    def __getitem__(self, index: Any) -> Arm:
        """Index the leading axes."""
        return Arm(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Base:
    """What an effect is relative to: control's level, or the counterfactual of difference-in-differences."""

    mean: Array
    var: Array  # sampling variance of `mean`
    cov_effect: Array  # sampling covariance of `mean` with the absolute effect
    df: Array


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
    se_abs: Array
    df: Array
    effect_abs_ci_low: Array
    effect_abs_ci_high: Array
    p_value: Array  # two-sided, absolute scale
    effect_rel: Array
    se_rel: Array
    effect_rel_ci_low: Array
    effect_rel_ci_high: Array
    p_value_rel: Array  # two-sided, relative scale
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

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.effect_abs.shape

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Where there is an answer."""
        return self.status == ResultStatus.OK.value

    def __getitem__(self, index: Any) -> Effect:
        """Index the leading axes."""
        return Effect(**{f.name: np.asarray(getattr(self, f.name)[index]) for f in fields(self)})

    def as_columns(self) -> dict[str, list[Any]]:
        """Columns of plain Python values in C order of the leading axes, null as None."""
        return {f.name: _as_list(getattr(self, f.name)) for f in fields(self)}


ANSWERS = tuple(f.name for f in fields(Effect) if f.name.startswith(("effect", "se_", "df", "p_", "any", "var", "mde")))


def compare(
    control: Arm,
    treatment: Arm,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
    base: Base | None = None,
    effect_abs: Array | None = None,
    insufficient: Sequence[Reason] = (),
    notes: Sequence[Reason] = (),
) -> Effect:
    """Treatment minus control for each element, by Welch's t with Satterthwaite's degrees of freedom.

    `base` defaults to control's mean. `effect_abs` defaults to the difference of the two means. `insufficient` are
    further conditions that leave an element without an answer; `notes` are reasons that do not.
    """
    with np.errstate(all="ignore"):
        effect = np.asarray(treatment.mean - control.mean if effect_abs is None else effect_abs, dtype=float)
        variance = treatment.var_mean + control.var_mean
        se, df = np.sqrt(variance), satterthwaite((treatment.var_mean, control.var_mean), (treatment.df, control.df))
        base = base or Base(control.mean, control.var_mean, -control.var_mean, control.df)
        unusable = _unusable(control, treatment, min_units, insufficient, (effect, se, df))
        ok = np.broadcast_to(~_any(unusable), effect.shape)
        relative, near_zero = _relative(effect, variance, df, base, alpha)
        half, mde = t_quantile(1 - alpha / 2, df) * se, detectable(se, df, alpha)
        null = {name: np.full(effect.shape, np.nan) for name in ANSWERS if name.startswith(("anytime", "variance"))}
        result = Effect(
            **_describe("control", control, effect.shape),
            **_describe("treatment", treatment, effect.shape),
            effect_abs=effect,
            se_abs=se,
            df=df,
            effect_abs_ci_low=effect - half,
            effect_abs_ci_high=effect + half,
            p_value=two_sided_p(effect / se, df),
            **relative,
            **null,
            mde=mde,
            mde_rel=np.where(near_zero, np.nan, mde / np.abs(base.mean)),
            alpha=np.full(effect.shape, alpha),
            status=np.where(ok, ResultStatus.OK.value, ResultStatus.INSUFFICIENT_DATA.value),
            reason=join_reasons([*unusable, (ok & near_zero, BASE_NEAR_ZERO), *notes], effect.shape),
        )
    return blank(result, ~ok)


def blank(effect: Effect, where: Any) -> Effect:
    """Null out the answers of some elements; what describes the arms stays."""
    return replace(effect, **{name: np.where(where, np.nan, getattr(effect, name)) for name in ANSWERS})


def satterthwaite(variances: Sequence[Array], dfs: Sequence[Array]) -> Array:
    """Degrees of freedom of a sum of independent variance estimates."""
    total = sum(variances)
    # Shares, because the square of a small variance is 0. A component without variance adds nothing, also where it has
    # no degree of freedom of its own.
    lost = sum(
        np.where(v > 0, (v / total) ** 2 / np.where(f > 0, f, np.nan), 0.0) for v, f in zip(variances, dfs, strict=True)
    )
    return np.asarray(1 / lost, dtype=float)


def t_quantile(probability: float, df: Array) -> Array:
    """Quantile of Student's t for each element's degrees of freedom."""
    return np.asarray(special.stdtrit(df, probability))


def two_sided_p(t: Array, df: Array) -> Array:
    """Two-sided p-value of Student's t."""
    return np.asarray(2 * special.stdtr(df, -np.abs(t)))


def detectable(se: Array, df: Array, alpha: float, power: float = POWER) -> Array:
    """Effect that a two-sided t test at alpha finds with the given power, in the unit of se."""
    return np.asarray((t_quantile(1 - alpha / 2, df) + t_quantile(power, df)) * se)


def join_reasons(reasons: Sequence[Reason], shape: tuple[int, ...]) -> NDArray[Any]:
    """Words of all reasons that hold, joined by ", ", for each element."""
    code = np.zeros(shape, dtype=np.int64)
    for bit, (mask, _) in enumerate(reasons):
        code = code + (np.broadcast_to(np.asarray(mask, dtype=bool), shape).astype(np.int64) << bit)
    seen, where = np.unique(code, return_inverse=True)
    words = [", ".join(word for bit, (_, word) in enumerate(reasons) if value >> bit & 1) for value in seen.tolist()]
    return np.array(words, dtype=object)[where].reshape(shape)


def _unusable(
    control: Arm, treatment: Arm, min_units: int, insufficient: Sequence[Reason], answers: tuple[Array, ...]
) -> list[Reason]:
    """Why elements have no answer, the first reasons first."""
    needed = max(min_units, 2)
    few = (control.n < needed) | (treatment.n < needed)
    reasons = [
        (few, BELOW_MIN_UNITS),
        *insufficient,
        (~few & (treatment.var_mean + control.var_mean <= 0), NO_VARIANCE),
    ]
    finite = np.all([np.isfinite(values) for values in np.broadcast_arrays(*answers)], axis=0)
    return [*reasons, (~_any(reasons) & ~finite, NOT_FINITE)]


def _any(reasons: Sequence[Reason]) -> NDArray[np.bool_]:
    return np.asarray(np.any(np.broadcast_arrays(*[np.asarray(mask) for mask, _ in reasons]), axis=0))


def _relative(
    effect: Array, variance: Array, df: Array, base: Base, alpha: float
) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Relative columns by the delta method, null where the base's own interval holds 0; and where that is.

    An error of 0 is an answer: a treatment arm that is constantly 0 has lost 100%, whatever control's mean is.
    """
    near_zero = ~(np.abs(base.mean) > t_quantile(1 - alpha / 2, np.asarray(base.df)) * np.sqrt(base.var))
    ratio = effect / base.mean
    relative = effect / np.abs(base.mean)
    # Divided twice, because the square of a tiny mean is 0.
    var_rel = (variance - 2 * ratio * base.cov_effect + ratio**2 * base.var) / base.mean / base.mean
    se = np.sqrt(np.maximum(var_rel, 0.0))
    known = (np.abs(relative) < BEYOND_MEANING) & (se < BEYOND_MEANING)
    near_zero = np.broadcast_to(near_zero | ~known, effect.shape)
    half = t_quantile(1 - alpha / 2, df) * se
    columns = {
        "effect_rel": relative,
        "se_rel": se,
        "effect_rel_ci_low": relative - half,
        "effect_rel_ci_high": relative + half,
        "p_value_rel": two_sided_p(relative / se, df),
    }
    return {name: np.where(near_zero, np.nan, value) for name, value in columns.items()}, near_zero


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
