"""Adjusting p-values for the number of questions asked; NaN is no question, counts for nothing and stays NaN.

Holm is written here because statsmodels' `multipletests` runs a full garbage collection in every call (0.15 s beside a
loaded table), which segments of a hundred metrics cannot afford; the tests hold it against statsmodels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # loads scipy.stats where it is first used: most stages and tasks never do

from exp_platform.stats.sufficient import Array


def holm(p_values: Any, axis: int | None = None) -> Array:
    """Holm-adjusted p-values, in the given shape: one family in all, or one along `axis` for each other index."""
    p = np.asarray(p_values, dtype=float)
    if axis is None:
        return holm(p.ravel(), axis=0).reshape(p.shape)
    p = np.moveaxis(p, axis, -1)
    order = np.argsort(p, axis=-1)  # NaN last
    rank = np.arange(p.shape[-1])
    asked = np.isfinite(p).sum(axis=-1, keepdims=True)
    adjusted = np.take_along_axis(p, order, axis=-1) * np.maximum(asked - rank, 1)
    adjusted = np.minimum(np.maximum.accumulate(adjusted, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return np.moveaxis(result, -1, axis)


def holm_by_family(p_values: Any, family: Any) -> Array:
    """Holm within each family label, for long tables."""
    p, labels = np.asarray(p_values, dtype=float), np.asarray(family)
    adjusted = np.full(p.shape, np.nan)
    for label in np.unique(labels):
        adjusted[labels == label] = holm(p[labels == label])
    return adjusted


def benjamini_hochberg(p_values: Any) -> Array:
    """Benjamini–Hochberg-adjusted p-values (false discovery rate) of one family."""
    p = np.asarray(p_values, dtype=float)
    asked = np.isfinite(p)
    adjusted = np.full(p.shape, np.nan)
    if asked.any():
        adjusted[asked] = scipy.stats.false_discovery_control(p[asked], method="bh")
    return adjusted
