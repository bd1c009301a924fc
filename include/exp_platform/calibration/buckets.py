"""A/A on a team's own data: the 256 unit buckets dealt anew to two arms, many times, without reading unit rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from exp_platform.calibration.findings import Z_BAND, Finding, Promise
from exp_platform.calibration.one_look import estimate
from exp_platform.calibration.worlds import BINARY, MEAN, RATIO, simulate
from exp_platform.stats.effect import DEFAULT_ALPHA, Effect
from exp_platform.stats.quantile import Histogram, quantile_effect
from exp_platform.stats.sufficient import Array, SufficientStatistics


@dataclass(frozen=True, eq=False)
class BucketAA:
    """False positives of an estimator on relabelled data; arrays have the lead of the buckets' record."""

    rounds: NDArray[np.int64]  # deals with an answer
    rate: Array  # share of deals with p < alpha; NaN is null
    band_low: Array  # Monte-Carlo band around alpha
    band_high: Array
    uniformity_p: Array  # Kolmogorov–Smirnov: are the p-values uniform?
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
    return summarise(estimate(arms).p_value[0], alpha)


def bucket_aa_quantile(
    histogram: Histogram,
    q: float,
    *,
    rounds: int = 200,
    share: float = 0.5,
    alpha: float = DEFAULT_ALPHA,
    seed: int = 0,
) -> BucketAA:
    """The same for a quantile metric, from its histogram with the bucket as group (all arms merged)."""
    groups, where = np.unique(histogram.group, return_inverse=True)
    p_values = []
    for treated in _deals(len(groups), rounds, share, seed):
        parts = [_pick(histogram, mask[where], mask.mean()) for mask in (~treated, treated)]
        p_values.append(quantile_effect(parts, q, alpha=alpha).p_value[0])
    return summarise(np.array(p_values), alpha)


def summarise(p_values: Array, alpha: float = DEFAULT_ALPHA) -> BucketAA:
    """Rates and uniformity of p-values (rounds first); deals without an answer are left out."""
    known = np.isfinite(p_values)
    rounds = known.sum(axis=0)
    with np.errstate(all="ignore"):
        rate = np.where(rounds > 0, (np.where(known, p_values, 1.0) < alpha).sum(axis=0) / rounds, np.nan)
        half = Z_BAND * np.sqrt(alpha * (1 - alpha) / rounds)
    flat = p_values.reshape(len(p_values), -1)
    uniform = [_uniformity(column) for column in flat.T]
    low, high = np.maximum(alpha - half, 0.0), np.minimum(alpha + half, 1.0)
    kept = (rate >= low) & (rate <= high)
    return BucketAA(rounds, rate, low, high, np.array(uniform).reshape(p_values.shape[1:]), kept)


def _uniformity(p_values: Array) -> float:
    known = p_values[np.isfinite(p_values)]
    return float(stats.kstest(known, "uniform").pvalue) if len(known) > 0 else float("nan")


def _deals(count: int, rounds: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which buckets are treated in each round (rounds, buckets): always the same number of them."""
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.broadcast_to(np.arange(count), (rounds, count)), axis=1)
    return order < round(count * share)


def _sum_over(buckets: SufficientStatistics, chosen: NDArray[np.bool_]) -> SufficientStatistics:
    weight = chosen.astype(float)
    return SufficientStatistics(**{name: np.tensordot(weight, value, axes=1) for name, value in vars(buckets).items()})


def _pick(histogram: Histogram, rows: NDArray[np.bool_], share: float) -> Histogram:
    return Histogram(histogram.units * share, histogram.group[rows], histogram.bin[rows], histogram.count[rows])


def study(rng: np.random.Generator, deals: int) -> Iterator[Finding]:
    """Bucket A/A of the estimators on one experiment with a real effect of 20%."""
    name = "A/A on unit buckets"
    for world in (MEAN, BINARY, RATIO):
        per_bucket = 40
        arms = simulate(world, rng, 256, per_bucket, lift=0.2)[:, :, 0]
        for method in ("ab", "cuped"):
            found = bucket_aa(
                arms.sum(axis=0), partial(estimate, world, method), rounds=deals, seed=int(rng.integers(2**31))
            )
            case = f"{world.name}, {method}, {512 * per_bucket:,} units"
            # Deals of one finite set of buckets: their rate carries the luck of that set beside that of the deals.
            yield Finding(name, case, Promise.EQUALS, 0.05, float(found.rate), int(found.rounds), allowance=0.01)
