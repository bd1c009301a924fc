"""Does the effect fade or grow with the days since exposure?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from exp_platform.stats.sufficient import Array
from exp_platform.stats.thresholds import speaks
from exp_platform.status import CheckStatus

MIN_DAYS = 4


@dataclass(frozen=True)
class Novelty:
    """Trend of the effect over days since exposure; null with fewer than four usable days."""

    slope: float | None  # change of the effect per day, metric's unit
    se: float | None
    p_value: float | None
    early: float | None  # effect over the first half of the days
    late: float | None  # and over the second
    status: CheckStatus


def novelty_trend(days: Any, effect: Any, se: Any, covariance: Any | None = None) -> Novelty:
    """Weighted trend of daily effects on the day since exposure.

    Days seen in the same units are correlated: give `covariance` (days × days) then; `se` alone means independent
    groups, such as cohorts by the age of their exposure. Days without a finite effect and se above 0 are left out.
    """
    day, value, error = (np.asarray(v, dtype=float) for v in (days, effect, se))
    keep = np.isfinite(value) & np.isfinite(error) & (error > 0)
    if keep.sum() < MIN_DAYS or np.ptp(day[keep]) == 0:
        return Novelty(None, None, None, None, None, CheckStatus.OK)
    day, value, error = day[keep], value[keep], error[keep]
    cov = np.diag(error**2) if covariance is None else np.asarray(covariance, dtype=float)[np.ix_(keep, keep)]
    design = np.stack([np.ones_like(day), day - day.mean()], axis=1)
    weighted = np.linalg.pinv(cov, hermitian=True) @ design
    inverse = np.linalg.inv(design.T @ weighted)
    slope = float((inverse @ (weighted.T @ value))[1])
    slope_se = float(np.sqrt(inverse[1, 1]))
    p_value = float(special.erfc(abs(slope / slope_se) / np.sqrt(2)))
    first = day <= np.median(day)
    status = speaks(p_value, CheckStatus.WARN)
    early, late = (_average(value[half], error[half]) for half in (first, ~first))
    return Novelty(slope, slope_se, p_value, early, late, status)


def _average(value: Array, error: Array) -> float | None:
    return float(np.average(value, weights=1 / error**2)) if len(value) else None
