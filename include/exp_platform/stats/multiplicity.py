"""Adjusting p-values for the number of questions asked (statsmodels does the arithmetic)."""

from __future__ import annotations

from typing import Any

import numpy as np
from statsmodels.stats.multitest import multipletests

from exp_platform.stats.sufficient import Array


def holm(p_values: Any) -> Array:
    """Holm-adjusted p-values of one family, in the given order and shape; NaN is no question and stays NaN."""
    return _adjust(p_values, "holm")


def benjamini_hochberg(p_values: Any) -> Array:
    """Benjamini–Hochberg-adjusted p-values (false discovery rate) of one family; NaN stays NaN."""
    return _adjust(p_values, "fdr_bh")


def holm_by_family(p_values: Any, family: Any) -> Array:
    """Holm within each family label, for long tables."""
    p, labels = np.asarray(p_values, dtype=float), np.asarray(family)
    adjusted = np.full(p.shape, np.nan)
    for label in np.unique(labels):
        adjusted[labels == label] = holm(p[labels == label])
    return adjusted


def holm_rows(p_values: Any) -> Array:
    """Holm in each family of many: families lie along the first axes, their p-values along the last; NaN stays NaN.

    The same numbers as `holm`, without its cost of 50 ms a family (statsmodels collects garbage at every call).
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, axis=-1)  # NaN comes last
    asked = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    stepped = np.sort(p, axis=-1) * np.maximum(asked - np.arange(p.shape[-1]), 1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), axis=-1)
    return adjusted


def holm_pair(p_values: Array) -> Array:
    """Holm over the last axis where it holds two p-values, for arrays of such pairs."""
    p = np.asarray(p_values, dtype=float)
    low = np.minimum(1.0, 2 * p.min(axis=-1, keepdims=True))
    return np.where(p == p.min(axis=-1, keepdims=True), low, np.maximum(low, p))


def _adjust(p_values: Any, method: str) -> Array:
    p = np.asarray(p_values, dtype=float)
    asked = ~np.isnan(p)
    adjusted = np.full(p.shape, np.nan)
    if asked.any():
        adjusted[asked] = multipletests(p[asked], method=method)[1]
    return adjusted
