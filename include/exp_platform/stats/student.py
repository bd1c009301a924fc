"""Student's t for arrays of degrees of freedom."""

from __future__ import annotations

import numpy as np
from scipy import special

from exp_platform.stats.sufficient import Array

POWER = 0.8  # of the minimum detectable effect


def t_quantile(probability: float, df: Array) -> Array:
    """Quantile of Student's t for each element's degrees of freedom."""
    return np.asarray(special.stdtrit(df, probability))


def two_sided_p(t: Array, df: Array) -> Array:
    """Two-sided p-value of Student's t."""
    return np.asarray(2 * special.stdtr(df, -np.abs(t)))


def detectable(se: Array, df: Array, alpha: float, power: float = POWER) -> Array:
    """Effect that a two-sided t test at alpha finds with the given power, in the unit of se."""
    return np.asarray((t_quantile(1 - alpha / 2, df) + t_quantile(power, df)) * se)
