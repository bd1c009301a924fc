"""Difference-in-differences with errors clustered by an attribute of the unit (store, region, account)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exp_platform.causal.cluster_errors import (
    MIN_CONTRASTS,
    TOO_FEW_CLUSTERS,
    ClusterSpread,
    cluster_spread,
    freedom,
)
from exp_platform.causal.did import DATES_LEFT_OUT, cohort_weights, defined, linear_map, pre_post, uneven
from exp_platform.causal.lacking import lacking
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Arm, Base, Effect, Reason, compare
from exp_platform.stats.sufficient import Array, SufficientStatistics

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
    squared. Each arm's influences are scaled by what its own clusters fail to show (G/(G − 1) for G of one size) and
    bring its own degrees of freedom: two treated stores beside forty others are two. An arm with fewer than 5 clusters,
    or as many comparisons within cohort dates, has no answer; fewer than 30 clusters, or than 10 in an arm, are named
    in `reason`, as are dates on which an arm is a single cluster, whose spread the other clusters must stand for.
    """
    if not by_cohort_date:
        arms = arms[:, None]
    total = arms.sum(axis=-1)
    levels = pre_post(total, ratio=ratio)
    control_n = np.broadcast_to(levels.n[:1], levels.n[1:].shape)
    weight, left_out = cohort_weights(control_n, levels.n[1:], defined(levels)[:1] & defined(levels)[1:])
    errors = _errors(arms, total, weight, ratio=ratio)
    change = levels.post - levels.pre
    # The variance is of the difference as a whole, because a cluster can lie in both arms: treatment carries it.
    treatment = _arm(weight, levels.n[1:], levels.post[1:], levels.sd[1:], errors.var_effect, errors.df)
    control = _arm(weight, control_n, levels.post[:1], levels.sd[:1], np.zeros_like(errors.var_effect), errors.df)
    contrasts = np.minimum(*(spread.contrasts for spread in errors.spreads))
    in_arm = np.minimum(*((spread.share > 0).sum(axis=-1) for spread in errors.spreads))
    in_all = np.logical_or(*(spread.share > 0 for spread in errors.spreads)).sum(axis=-1)
    too_few: Reason = (contrasts < MIN_CONTRASTS, TOO_FEW_CLUSTERS)
    return compare(
        control,
        treatment,
        effect_abs=_mean(weight, change[1:] - change[:1]),
        base=Base(_mean(weight, levels.pre[1:] + change[:1]), errors.var_base, errors.cov_effect_base, errors.df_base),
        alpha=alpha,
        min_units=min_units,
        insufficient=[too_few, *lacking(total, weight, ratio=ratio, binary=binary), uneven(weight, control_n)],
        notes=[
            (left_out, DATES_LEFT_OUT),
            (~too_few[0] & ((in_all < MANY) | (in_arm < MANY_IN_ARM)), FEW_CLUSTERS),
            (~too_few[0] & np.logical_or(*(spread.alone for spread in errors.spreads)), SINGLE_CLUSTER),
        ],
    )


@dataclass(frozen=True, eq=False)
class _Errors:
    """The errors of the effect and of the counterfactual that it is relative to."""

    spreads: tuple[ClusterSpread, ClusterSpread]  # control's and treatment's
    var_effect: Array
    df: Array
    var_base: Array
    df_base: Array
    cov_effect_base: Array


def _errors(arms: SufficientStatistics, total: SufficientStatistics, weight: Array, *, ratio: bool) -> _Errors:
    """From each cluster's influence on each arm's change and on treatment's level before."""
    post, pre = _deviations(arms, total, ratio=ratio)
    units = np.broadcast_to(arms.did_n[:1], arms.did_n[1:].shape), arms.did_n[1:]
    spreads = cluster_spread(units[0], weight), cluster_spread(units[1], weight)
    with np.errstate(all="ignore"):
        change, before = (part / total.did_n[..., None] for part in (post - pre, pre))
        scales = [np.sqrt(spread.factor)[..., None] for spread in spreads]
        control = scales[0] * _over_dates(weight, change[:1])
        treated, level = (scales[1] * _over_dates(weight, part[1:]) for part in (change, before))
        of_control, of_treated, of_level = ((side**2).sum(axis=-1) for side in (control, treated, level))
        effect, base = treated - control, level + control
        return _Errors(
            spreads,
            var_effect=(effect**2).sum(axis=-1),
            df=freedom((of_control, of_treated), spreads),
            var_base=(base**2).sum(axis=-1),
            df_base=freedom((of_control, of_level), spreads),
            cov_effect_base=(effect * base).sum(axis=-1),
        )


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
    return np.asarray(np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1))


def _mean(weight: Array, value: Array) -> Array:
    total = np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1)
    return np.where((weight > 0).any(axis=1), total, np.nan)
