"""A/A on a team's own data: the 256 unit buckets dealt anew to two arms, many times, without reading unit rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from exp_platform.calibration.findings import Z_BAND, Measured, Promise
from exp_platform.calibration.one_look import estimate
from exp_platform.calibration.worlds import BINARY, MEAN, RATIO, SPLITS, simulate_buckets
from exp_platform.stats.effect import DEFAULT_ALPHA, Effect
from exp_platform.stats.quantile import Histogram, quantile_effect
from exp_platform.stats.sufficient import Array, SufficientStatistics


@dataclass(frozen=True, eq=False)
class BucketAA:
    """False positives of an estimator on relabelled data; arrays have the lead of the buckets' record."""

    rounds: NDArray[np.int64]  # deals with an answer
    rate: Array  # share of deals with p < alpha; NaN is null
    band_low: Array  # around alpha: Monte-Carlo error, and the luck of having only so many buckets
    band_high: Array
    kept: NDArray[np.bool_]  # the rate lies in the band


def bucket_aa(
    buckets: SufficientStatistics,
    estimate: Callable[[SufficientStatistics], Effect],
    *,
    rounds: int = 1000,
    share: float = 0.5,
    alpha: float = DEFAULT_ALPHA,
    seed: int = 0,
) -> BucketAA:
    """Deal unit buckets (axis 0, all arms merged) at random to control and treatment, and estimate each deal.

    The real arms must be merged first, `arms.sum(axis=0)`: then every bucket holds both and no deal has an effect,
    whatever the real one is. `share` is treatment's share of the buckets.
    """
    treated = _deals(len(buckets.n), rounds, share, seed)
    arms = SufficientStatistics.stack([_sum_over(buckets, ~treated), _sum_over(buckets, treated)])
    return _summarise(estimate(arms).p_value[0], alpha, len(buckets.n))


def bucket_aa_quantile(
    histogram: Histogram,
    q: float,
    *,
    rounds: int = 200,
    share: float = 0.5,
    alpha: float = DEFAULT_ALPHA,
    seed: int = 0,
) -> BucketAA:
    """Deal the buckets of a quantile metric as `bucket_aa` does: its histogram has them as groups, all arms merged."""
    groups, where = np.unique(histogram.group, return_inverse=True)
    p_values = []
    for treated in _deals(len(groups), rounds, share, seed):
        parts = [histogram.of_groups(mask[where], float(mask.mean())) for mask in (~treated, treated)]
        p_values.append(quantile_effect(parts, q, alpha=alpha).p_value[0])
    return _summarise(np.array(p_values), alpha, len(groups))


def _summarise(p_values: Array, alpha: float, buckets: int) -> BucketAA:
    """Rates over deals (axis 0); deals without an answer are left out."""
    known = np.isfinite(p_values)
    rounds = known.sum(axis=0)
    z = float(stats.norm.isf(alpha / 2))
    # The spread between B buckets is known to a share √(2 / (B − 1)) only; this is what that does to the rate.
    luck = stats.norm.pdf(z) * z * np.sqrt(2 / (buckets - 1))
    with np.errstate(all="ignore"):
        rate = np.where(rounds > 0, (np.where(known, p_values, 1.0) < alpha).sum(axis=0) / rounds, np.nan)
        half = Z_BAND * np.sqrt(alpha * (1 - alpha) / rounds + luck**2)
    low, high = np.maximum(alpha - half, 0.0), np.minimum(alpha + half, 1.0)
    return BucketAA(rounds, rate, low, high, (rate >= low) & (rate <= high))


def _deals(count: int, rounds: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which buckets are treated in each round (rounds, buckets): always the same number of them."""
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.broadcast_to(np.arange(count), (rounds, count)), axis=1)
    return order < round(count * share)


def _sum_over(buckets: SufficientStatistics, chosen: NDArray[np.bool_]) -> SufficientStatistics:
    weight = chosen.astype(float)
    return SufficientStatistics(**{name: np.tensordot(weight, value, axes=1) for name, value in vars(buckets).items()})


def study(rng: np.random.Generator, deals: int, experiments: int = 40) -> Iterator[Measured]:
    """Bucket A/A of the estimators on experiments with a real effect of 20%; `deals` over all of them."""
    for world in (MEAN, BINARY, RATIO):
        merged = [simulate_buckets(world, rng, 3_000, lift=0.2).sum(axis=0) for _ in range(experiments)]
        for name, shares in SPLITS.items():
            for method in ("ab", "cuped"):
                one = partial(estimate, world, method)
                rounds = deals // experiments
                found = [bucket_aa(m, one, rounds=rounds, share=shares[1], seed=i) for i, m in enumerate(merged)]
                rate = float(np.mean([f.rate for f in found]))
                case = f"{world.name}, {method}, {name}: {experiments} experiments of 6,000 units"
                promise = Promise.EQUALS if name == "50/50" else Promise.AT_MOST
                # Forty sets of buckets leave 0.2 points of luck beside the Monte-Carlo error of the deals.
                yield Measured("A/A on unit buckets", case, promise, 0.05, rate, deals, allowance=0.006)
