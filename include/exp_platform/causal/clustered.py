"""Difference-in-differences with errors clustered by an attribute of the unit (store, region, account)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exp_platform.causal.did import DATES_LEFT_OUT, cohort_weights, defined, lacking, linear_map, pre_post, uneven
from exp_platform.stats.effect import (
    DEFAULT_ALPHA,
    DEFAULT_MIN_UNITS,
    Arm,
    Base,
    Effect,
    Reason,
    compare,
    satterthwaite,
)
from exp_platform.stats.sufficient import Array, SufficientStatistics

TOO_FEW_CLUSTERS = "fewer_than_two_clusters"
FEW_CLUSTERS = "few_clusters"
SINGLE_CLUSTER = "cohort_dates_with_one_cluster"
MANY, MANY_IN_ARM = 30, 10  # clusters, in all and in an arm, from which cluster-robust errors are usually trusted


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
    squared. The variance is G/(G − 1) · Σ influence² over the G clusters that hold units; fewer than 30 of them, or
    than 10 in an arm, are named in `reason`. It has G − 1 degrees of freedom where every cluster lies in both arms;
    where clusters lie in one arm each arm brings its own, as in Welch's test: two treated stores beside forty others
    are two.

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
    influence = _influences(arms, total, weight, ratio=ratio)
    variance, var_base, cov_base = _cluster_variances(influence, clusters)
    change, df = levels.post - levels.pre, _freedom(arms.did_n, weight, influence[0])
    # The variance is of the difference as a whole, because a cluster can lie in both arms: treatment carries it.
    treatment = _arm(weight, levels.n[1:], levels.post[1:], levels.sd[1:], variance, df)
    control = _arm(weight, control_n, levels.post[:1], levels.sd[:1], np.zeros_like(variance), df)
    best, fewest, alone = _clusters_by_arm(arms.did_n, weight)
    few: list[Reason] = [(best < 2, TOO_FEW_CLUSTERS)]
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
            ((best >= 2) & ((clusters < MANY) | (fewest < MANY_IN_ARM)), FEW_CLUSTERS),
            ((best >= 2) & alone, SINGLE_CLUSTER),
        ],
    )


def _clusters_by_arm(units: Array, weight: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Of the arm with the fewest: clusters on its best date, in all, and whether an arm is one cluster on a date."""
    sides = [(side > 0) & (weight > 0)[..., None] for side in (units[:1], units[1:])]
    by_date = [side.sum(axis=-1) for side in sides]
    best = np.minimum(*(count.max(axis=1) for count in by_date))
    in_all = np.minimum(*(side.any(axis=1).sum(axis=-1) for side in sides))
    return best, in_all, np.any([count == 1 for count in by_date], axis=0).any(axis=1)


def _influences(
    arms: SufficientStatistics, total: SufficientStatistics, weight: Array, *, ratio: bool
) -> tuple[Array, Array]:
    """Each cluster's influence (last axis) on the effect and on its base."""
    post, pre = _deviations(arms, total, ratio=ratio)
    with np.errstate(all="ignore"):
        change, before = ((part / total.did_n[..., None]) for part in (post - pre, pre))
        effect = _over_dates(weight, change[1:] - change[:1])
        return effect, _over_dates(weight, before[1:] + change[:1])


def _cluster_variances(influence: tuple[Array, Array], clusters: Array) -> tuple[Array, Array, Array]:
    """Variance of the effect, of its base, and their covariance."""
    effect, base = influence
    with np.errstate(all="ignore"):
        scale = clusters / (clusters - 1.0)
        return tuple(scale * (a * b).sum(axis=-1) for a, b in ((effect, effect), (base, base), (effect, base)))


def _freedom(units: Array, weight: Array, influence: Array) -> Array:
    """Degrees of freedom of the effect's variance from clusters in treatment, in control and in both."""
    used = (weight > 0)[..., None]
    control, treatment = (((side > 0) & used).any(axis=1) for side in (units[:1], units[1:]))
    kinds = (treatment & ~control, control & ~treatment, treatment & control)
    with np.errstate(all="ignore"):
        parts = [np.where(kind, influence**2, 0.0).sum(axis=-1) for kind in kinds]
        freedom = satterthwaite(parts, [np.maximum(kind.sum(axis=-1) - 1.0, 1.0) for kind in kinds])
        return np.minimum(freedom, (control | treatment).sum(axis=-1) - 1.0)


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
