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
