"""Sanity checks of a metric before its result is believed: pre-period A/A, share with value, skewness, Twyman's law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.effect import DEFAULT_MIN_UNITS, Effect
from exp_platform.stats.moments import ROUNDING, SKEWNESS_RULE, third_moment
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sufficient import Array, SufficientStatistics
from exp_platform.stats.thresholds import CHECK_SPEAKS_BELOW

OUTLIER_SHARE = 0.2  # of an arm's spread that one of 256 unit buckets may hold
OUTLIER_MIN_UNITS = 1000  # in an arm: below, a bucket holds too few units to compare
HISTORY = 5  # past effects from which a metric has a history
TWYMAN_FACTOR = 2.0  # beyond this many times the largest effect of the past
TWYMAN_CEILING = 0.5  # relative effect that nobody expects without a history


@dataclass(frozen=True, eq=False)
class Skewness:
    """Skewness of the unit values of each arm, and the units that a t test then needs; NaN is null."""

    skewness: Array
    needed_n: Array  # units per arm
    warn: NDArray[np.bool_]


@dataclass(frozen=True)
class Twyman:
    """Any figure that looks interesting is usually wrong: is the effect far outside the metric's history?"""

    effect_rel: float | None
    threshold: float
    history: int  # past effects used
    warn: bool


def skewness(s: SufficientStatistics) -> Skewness:
    """Skewness of each arm, after the cap, from Σy, Σy², Σy³; warns when n < 355 · skewness²."""
    with np.errstate(all="ignore"):
        n, mean = s.n, s.y / s.n
        m2 = s.yy / n - mean**2
        value = np.where(m2 > ROUNDING * s.yy / n, third_moment(s) / n / m2**1.5, np.nan)
        needed = SKEWNESS_RULE * value**2
        return Skewness(value, needed, n < needed)


def pre_period_effect(arms: SufficientStatistics, *, ratio: bool = False, min_units: int = DEFAULT_MIN_UNITS) -> Effect:
    """The A/A on the pre-period: the metric's own covariate compared between arms (for a ratio the two of them)."""
    swapped = replace(
        arms,
        y=arms.x[..., 0],
        yy=arms.xx[..., 0, 0],
        yyy=np.full_like(arms.yyy, np.nan),  # the sums do not tell its skewness
        **({"d": arms.x[..., 1], "dd": arms.xx[..., 1, 1], "yd": arms.xx[..., 0, 1]} if ratio else {}),
    )
    return (ratio_effect if ratio else mean_effect)(swapped, alpha=CHECK_SPEAKS_BELOW, min_units=min_units)


def share_with_value(arms: SufficientStatistics, *, ratio: bool = False) -> Effect:
    """Difference of the share of units with a value; for a ratio, of the mean denominator.

    Where the check speaks randomisation no longer protects the comparison. No variance (all units have a value) is no
    difference: such an element has status insufficient_data and nothing to warn of.
    """
    if ratio:
        unknown = np.full_like(arms.yyy, np.nan)
        return mean_effect(replace(arms, y=arms.d, yy=arms.dd, yyy=unknown), alpha=CHECK_SPEAKS_BELOW)
    return mean_effect(replace(arms, n=arms.n + arms.n_null, y=arms.n, yy=arms.n, yyy=arms.n), alpha=CHECK_SPEAKS_BELOW)


def outlier_share(buckets: SufficientStatistics) -> tuple[Array, NDArray[np.bool_]]:
    """Largest share of an arm's squared deviations that one unit bucket (last leading axis) holds, and where to warn.

    A handful of units with extreme values puts most of the spread into a few of the 256 buckets.
    """
    with np.errstate(all="ignore"):
        mean = buckets.y.sum(axis=-1) / buckets.n.sum(axis=-1)
        spread = buckets.yy - 2 * mean[..., None] * buckets.y + mean[..., None] ** 2 * buckets.n
        share = spread.max(axis=-1) / spread.sum(axis=-1)
    return share, (share > OUTLIER_SHARE) & (buckets.n.sum(axis=-1) >= OUTLIER_MIN_UNITS)


def twyman(effect_rel: float | None, p_value: float | None, history: Sequence[Any], alpha: float = 0.05) -> Twyman:
    """Compare a relative effect with the metric's past ones (other experiments); only a significant one can warn."""
    past = np.abs(np.asarray([h for h in history if h is not None], dtype=float))
    past = past[np.isfinite(past)]
    enough = len(past) >= HISTORY
    threshold = float(TWYMAN_FACTOR * past.max()) if enough else TWYMAN_CEILING
    significant = p_value is not None and p_value < alpha
    warn = significant and effect_rel is not None and abs(effect_rel) > threshold
    return Twyman(effect_rel, threshold, len(past), warn)
