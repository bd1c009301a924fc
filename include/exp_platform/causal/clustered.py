"""Difference-in-differences with errors clustered by an attribute of the unit (store, region, account)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exp_platform.causal.did import DATES_LEFT_OUT, cohort_weights, defined, lacking, linear_map, pre_post, uneven
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Arm, Base, Effect, Reason, compare
from exp_platform.stats.sufficient import Array, SufficientStatistics

TOO_FEW_CLUSTERS = "fewer_than_two_clusters"
FEW_CLUSTERS = "few_clusters"
SINGLE_CLUSTER = "cohort_dates_with_one_cluster"
MANY = 30  # clusters from which cluster-robust errors are usually trusted


def clustered_did_effect(
    arms: SufficientStatistics,
    *,
    ratio: bool = False,
    binary: bool = False,
    by_cohort_date: bool = False,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """As `did_effect`, with cluster-robust variance: the last of the leading axes is the cluster.

    A cluster may hold units of both arms and of several dates: its influence on the effect is added up before it is
    squared. The variance is G/(G − 1) · Σ influence² with G − 1 degrees of freedom over the G clusters that hold
    units; fewer than 30 of them are named in `reason`.

    Clusters that are alone in their arm on a cohort date show no spread there. Dates where that is so are named; where
    no date has two clusters in each arm there is no answer, because the interval would leave out an arm's error.
    """
    if not by_cohort_date:
        arms = arms[:, None]
    total = arms.sum(axis=-1)
    levels = pre_post(total, ratio=ratio)
    control_n = np.broadcast_to(levels.n[:1], levels.n[1:].shape)
    weight, left_out = cohort_weights(control_n, levels.n[1:], defined(levels)[:1] & defined(levels)[1:])
    units = np.where((weight > 0)[..., None], arms.did_n[1:] + arms.did_n[:1], 0.0).sum(axis=1)
    clusters = (units > 0).sum(axis=-1)
    variance, var_base, cov_base = _cluster_variances(arms, total, weight, clusters, ratio=ratio)
    change, df = levels.post - levels.pre, clusters - 1.0
    # The variance is of the difference as a whole, because a cluster can lie in both arms: treatment carries it.
    treatment = _arm(weight, levels.n[1:], levels.post[1:], levels.sd[1:], variance, df)
    control = _arm(weight, control_n, levels.post[:1], levels.sd[:1], np.zeros_like(variance), df)
    least, alone = _clusters_by_arm(arms.did_n, weight)
    few: list[Reason] = [(least < 2, TOO_FEW_CLUSTERS)]
    return compare(
        control,
        treatment,
        effect_abs=_mean(weight, change[1:] - change[:1]),
        base=Base(_mean(weight, levels.pre[1:] + change[:1]), var_base, cov_base, df),
        alpha=alpha,
        min_units=min_units,
        insufficient=[*few, *lacking(total, True, ratio=ratio, binary=binary), uneven(weight, control_n)],
        notes=[
            (left_out, DATES_LEFT_OUT),
            ((least >= 2) & (clusters < MANY), FEW_CLUSTERS),
            ((least >= 2) & alone, SINGLE_CLUSTER),
        ],
    )


def _clusters_by_arm(units: Array, weight: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Clusters of the arm with the fewer of them, on its best date; and whether some date has an arm in one cluster."""
    held, used = (units > 0).sum(axis=-1), weight > 0
    control, treatment = np.where(used, held[:1], 0), np.where(used, held[1:], 0)
    least = np.minimum(control.max(axis=1), treatment.max(axis=1))
    return least, ((control == 1) | (treatment == 1)).any(axis=1)


def _cluster_variances(
    arms: SufficientStatistics, total: SufficientStatistics, weight: Array, clusters: Array, *, ratio: bool
) -> tuple[Array, Array, Array]:
    """Variance of the effect, of its base, and their covariance, from each cluster's influence on both."""
    post, pre = _deviations(arms, total, ratio=ratio)
    with np.errstate(all="ignore"):
        change, before = ((part / total.did_n[..., None]) for part in (post - pre, pre))
        scale = clusters / (clusters - 1.0)
        effect = _over_dates(weight, change[1:] - change[:1])
        base = _over_dates(weight, before[1:] + change[:1])
        return tuple(scale * (a * b).sum(axis=-1) for a, b in ((effect, effect), (base, base), (effect, base)))


def _arm(weight: Array, n: Array, post: Array, sd: Array, variance: Array, df: Array) -> Arm:
    return Arm(
        np.where(weight > 0, n, 0.0).sum(axis=1), _mean(weight, post), np.sqrt(_mean(weight, sd**2)), variance, df
    )


def _deviations(arms: SufficientStatistics, total: SufficientStatistics, *, ratio: bool) -> tuple[Array, Array]:
    """For each cluster the sum over its units of the linearised (post, pre) minus the arm's level."""
    gradient, _ = linear_map(total, ratio=ratio)
    with np.errstate(all="ignore"):
        centred = arms.did_v - (total.did_v / total.did_n[..., None])[..., None, :] * arms.did_n[..., None]
        linear = np.einsum("...ij,...kj->...ki", gradient, centred)
    return linear[..., 0], linear[..., 1]


def _over_dates(weight: Array, value: Array) -> Array:
    weight = weight[..., None]
    return np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1)


def _mean(weight: Array, value: Array) -> Array:
    total = np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1)
    return np.where((weight > 0).any(axis=1), total, np.nan)
