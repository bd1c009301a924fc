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
    """One verdict per guardrail × treatment arm; harm is the relative effect in the bad direction; NaN is null."""

    harm: Array
    harm_low: Array
    bound: Array  # upper end of harm's two-sided 1 − alpha interval
    margin: Array  # max_relative_harm
    p_harm: Array  # one-sided, of harm above 0
    p_harm_adjusted: Array  # Holm over the family
    status: NDArray[Any]  # words of GuardrailStatus


def assess_guardrails(
    effect: Effect,
    margin: Any,
    increase_is_good: Any,
    *,
    anytime: bool = False,
    alpha: float = DEFAULT_ALPHA,
    axis: int | None = None,
) -> Guardrails:
    """Verdicts on all guardrail × arm rows of an experiment at once, from the deciding rows of `effect`.

    All rows are one family, or with `axis` those along it are (many experiments or looks at once).
    pass: the bound is below the margin, unadjusted, since all must pass. fail: harm is beyond the margin and above 0
    at one-sided alpha / 2, Holm over the family, since any one stops. Else inconclusive, as is a row without a relative
    effect. `anytime` takes the confidence sequence (before the planned end) in place of the fixed-horizon interval.
    """
    low, high, p_value = (
        (effect.anytime_rel_ci_low, effect.anytime_rel_ci_high, effect.anytime_p_value_rel)
        if anytime
        else (effect.effect_rel_ci_low, effect.effect_rel_ci_high, effect.p_value_rel)
    )
    good_is_up = np.broadcast_to(np.asarray(increase_is_good, dtype=bool), low.shape)
    margins = np.broadcast_to(np.asarray(margin, dtype=float), low.shape)
    known = effect.ok & np.isfinite(effect.effect_rel) & np.isfinite(low) & np.isfinite(high)
    harm = np.where(good_is_up, -effect.effect_rel, effect.effect_rel)
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
