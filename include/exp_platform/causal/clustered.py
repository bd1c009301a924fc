"""Difference-in-differences with errors clustered by an attribute of the unit (store, region, account)."""

from __future__ import annotations

import numpy as np

from exp_platform.causal.did import DATES_LEFT_OUT, cohort_weights, linear_map, pre_post, rare_events
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Arm, Base, Effect, Reason, compare
from exp_platform.stats.sufficient import Array, SufficientStatistics

TOO_FEW_CLUSTERS = "fewer_than_two_clusters"
FEW_CLUSTERS = "few_clusters"
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
    """
    if not by_cohort_date:
        arms = arms[:, None]
    total = arms.sum(axis=-1)
    levels = pre_post(total, ratio=ratio)
    control_n = np.broadcast_to(levels.n[:1], levels.n[1:].shape)
    weight, left_out = cohort_weights(control_n, levels.n[1:])
    used = weight > 0
    post, pre = _deviations(arms, total, ratio=ratio)
    change, per_unit = post - pre, _inverse(levels.n)

    influence = _over_dates(weight, (change * per_unit)[1:] - (change * per_unit)[:1])
    influence_base = _over_dates(weight, (pre * per_unit)[1:] + (change * per_unit)[:1])
    units = np.where(used[..., None], arms.did_n[1:] + arms.did_n[:1], 0.0).sum(axis=1)
    g = (units > 0).sum(axis=-1)
    with np.errstate(all="ignore"):
        scale = g / (g - 1.0)
        variance = scale * (influence**2).sum(axis=-1)
        var_base = scale * (influence_base**2).sum(axis=-1)
        cov_base = scale * (influence * influence_base).sum(axis=-1)
    df = g - 1.0
    treated, control = (
        Arm(
            n=np.where(used, n, 0.0).sum(axis=1),
            mean=_mean(weight, mean),
            sd=np.sqrt(_mean(weight, sd**2)),
            # The variance is of the difference as a whole, because a cluster can lie in both arms.
            var_mean=var,
            df=df,
        )
        for n, mean, sd, var in (
            (levels.n[1:], levels.post[1:], levels.sd[1:], variance),
            (control_n, levels.post[:1], levels.sd[:1], np.zeros_like(variance)),
        )
    )
    insufficient: list[Reason] = [(g < 2, TOO_FEW_CLUSTERS)]
    if binary:
        insufficient += rare_events(total, by_cohort_date=True)
    mean_change = levels.post - levels.pre
    return compare(
        control,
        treated,
        effect_abs=_mean(weight, mean_change[1:] - mean_change[:1]),
        base=Base(_mean(weight, levels.pre[1:] + mean_change[:1]), var_base, cov_base, df),
        alpha=alpha,
        min_units=min_units,
        insufficient=insufficient,
        notes=[(left_out, DATES_LEFT_OUT), ((g >= 2) & (g < MANY), FEW_CLUSTERS)],
    )


def _deviations(arms: SufficientStatistics, total: SufficientStatistics, *, ratio: bool) -> tuple[Array, Array]:
    """For each cluster the sum over its units of the linearised (post, pre) minus the arm's level."""
    gradient, _ = linear_map(total, ratio=ratio)
    with np.errstate(all="ignore"):
        centred = arms.did_v - (total.did_v / total.did_n[..., None])[..., None, :] * arms.did_n[..., None]
        linear = np.einsum("...ij,...kj->...ki", gradient, centred)
    return linear[..., 0], linear[..., 1]


def _inverse(n: Array) -> Array:
    with np.errstate(all="ignore"):
        return (1 / n)[..., None]


def _over_dates(weight: Array, value: Array) -> Array:
    weight = weight[..., None]
    return np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1)


def _mean(weight: Array, value: Array) -> Array:
    total = np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1)
    return np.where((weight > 0).any(axis=1), total, np.nan)
