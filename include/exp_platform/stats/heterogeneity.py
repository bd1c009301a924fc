"""Does the effect differ between the values of a segment?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from exp_platform.stats.effect import Effect
from exp_platform.stats.sufficient import Array


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """Cochran's Q over segment values; NaN is null (fewer than two values with an answer)."""

    q: Array
    df: Array  # values with an answer, minus one
    p_value: Array
    i_squared: Array  # share of the spread between values that is not noise, 0 to 1


def heterogeneity(effect: Effect, axis: int = -1) -> Heterogeneity:
    """Test that the absolute effect is the same in all segment values, which lie along `axis` and share no units."""
    ok = effect.ok & (effect.se_abs > 0)
    with np.errstate(all="ignore"):
        weight = np.where(ok, 1 / effect.se_abs**2, 0.0)
        value = np.where(ok, effect.effect_abs, 0.0)
        mean = (weight * value).sum(axis=axis, keepdims=True) / weight.sum(axis=axis, keepdims=True)
        q = (weight * (value - mean) ** 2).sum(axis=axis)
        df = ok.sum(axis=axis) - 1.0
        known = df >= 1
        i_squared = np.where(q > df, (q - df) / q, 0.0)
        p_value = special.chdtrc(np.maximum(df, 1.0), q)
    q, df, p_value, i_squared = (np.where(known, v, np.nan) for v in (q, df, p_value, i_squared))
    return Heterogeneity(q, df, p_value, i_squared)
