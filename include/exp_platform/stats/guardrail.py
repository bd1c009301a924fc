"""Non-inferiority of guardrails: a guardrail passes by evidence, not by the absence of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.effect import DEFAULT_ALPHA, Effect
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sufficient import Array
from exp_platform.status import GuardrailStatus


@dataclass(frozen=True, eq=False)
class Guardrails:
    """One verdict per guardrail × treatment arm; harm is the effect in the bad direction; NaN is null.

    Harm, its interval and the margin are relative, or in the metric's unit where the margin is absolute.
    """

    harm: Array
    harm_low: Array
    bound: Array  # upper end of harm's two-sided 1 − alpha interval
    margin: Array
    p_harm: Array  # one-sided, of harm above 0
    p_harm_adjusted: Array  # Holm over the family
    status: NDArray[Any]  # words of GuardrailStatus


def assess_guardrails(
    effect: Effect,
    margin: Any,
    increase_is_good: Any,
    *,
    absolute: Any = False,
    anytime: bool = False,
    alpha: float = DEFAULT_ALPHA,
    axis: int | None = None,
) -> Guardrails:
    """Verdicts on all guardrail × arm rows of an experiment at once, from the deciding rows of `effect`.

    All rows are one family, or with `axis` those along it are (many experiments or looks at once).
    pass: the bound is below the margin, unadjusted, since all must pass. fail: harm is beyond the margin and above 0
    at one-sided alpha / 2, Holm over the family, since any one stops. Else inconclusive, as is a row without an effect
    on its scale. `absolute` says which margins are in the metric's unit. `anytime` takes the confidence sequence
    (before the planned end) in place of the fixed-horizon interval.
    """
    value, low, high, p_value = _on_scale(effect, absolute, anytime)
    good_is_up = np.broadcast_to(np.asarray(increase_is_good, dtype=bool), low.shape)
    margins = np.broadcast_to(np.asarray(margin, dtype=float), low.shape)
    known = effect.ok & np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
    harm = np.where(good_is_up, -value, value)
    harm_low, bound = np.where(good_is_up, -high, low), np.where(good_is_up, -low, high)
    p_harm = np.where(harm > 0, p_value / 2, 1 - p_value / 2)
    harm, harm_low, bound, p_harm = (np.where(known, v, np.nan) for v in (harm, harm_low, bound, p_harm))
    adjusted = holm(p_harm, axis=axis)
    passed = known & (bound < margins)
    failed = known & (harm > margins) & (adjusted < alpha / 2)
    status = np.select(
        [passed, failed],
        [GuardrailStatus.PASS.value, GuardrailStatus.FAIL.value],
        GuardrailStatus.INCONCLUSIVE.value,
    )
    return Guardrails(harm, harm_low, bound, margins, p_harm, adjusted, status)


def _on_scale(effect: Effect, absolute: Any, anytime: bool) -> list[Array]:
    """Effect, low, high and p on the scale of each margin, by the interval in force."""
    names = (
        ("anytime_ci_low", "anytime_ci_high", "anytime_p_value", "anytime_rel_ci_low", "anytime_rel_ci_high")
        if anytime
        else ("effect_abs_ci_low", "effect_abs_ci_high", "p_value", "effect_rel_ci_low", "effect_rel_ci_high")
    )
    low, high, p_value, rel_low, rel_high = (getattr(effect, name) for name in names)
    pairs = ((effect.effect_abs, effect.effect_rel), (low, rel_low), (high, rel_high), (p_value, p_value))
    return [np.where(absolute, plain, relative) for plain, relative in pairs]
