"""Difference-in-differences: what it controls for, and what it leaves without an answer."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import did_effect
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(9)


def arm(post: np.ndarray, pre: np.ndarray) -> SufficientStatistics:
    return SufficientStatistics.from_units(post, v=np.stack([post, pre], axis=1))


def group(level: float, trend: float, lift: float, n: int = 500) -> SufficientStatistics:
    pre = RNG.normal(level, 1, n)
    return arm(pre + trend + lift + RNG.normal(0, 0.5, n), pre)


def stack(*records: SufficientStatistics) -> SufficientStatistics:
    return SufficientStatistics.stack(records)


def test_a_standing_gap_and_a_common_trend_are_taken_out() -> None:
    effect = did_effect(stack(group(10, 2, 0), group(14, 2, 0.5)))
    assert effect.effect_abs_ci_low[0] < 0.5 < effect.effect_abs_ci_high[0]
    assert effect.treatment_mean[0] - effect.control_mean[0] > 4


def test_the_relative_effect_is_relative_to_what_treatment_would_have_been() -> None:
    effect = did_effect(stack(group(10, 2, 0), group(14, 2, 0.5)))
    counterfactual = effect.treatment_mean[0] - effect.effect_abs[0]
    assert effect.effect_rel[0] == pytest.approx(effect.effect_abs[0] / counterfactual)


def test_a_rollout_compares_within_each_cohort_date() -> None:
    """Most treated units come on the late date, when all trend upward: pooling would call that an effect."""
    control = stack(group(10, 0, 0, 900), group(10, 3, 0, 100))
    treatment = stack(group(10, 0, 0, 100), group(10, 3, 0, 900))
    arms = stack(control, treatment)
    within = did_effect(arms, by_cohort_date=True, rollout=True)
    assert abs(within.effect_abs[0]) < 4 * within.se_abs[0]
    assert did_effect(arms.sum(axis=1)).effect_abs[0] > 2
    assert within.reason[0] == "unit_level_errors"


def test_dates_with_under_two_units_in_an_arm_are_left_out_and_named() -> None:
    control = stack(group(10, 0, 0), SufficientStatistics.zeros(m=2))
    treatment = stack(group(10, 0, 1), group(10, 0, 1, 50))
    effect = did_effect(stack(control, treatment), by_cohort_date=True)
    assert effect.status[0] == "ok"
    assert effect.reason[0] == "cohort_dates_without_both_arms"
    assert effect.treatment_n[0] == 500


def test_a_ratio_is_compared_by_the_change_of_its_ratio() -> None:
    records = []
    for lift in (0.0, 0.4):
        d, pre_d = 1.0 + RNG.poisson(4, 800), 1.0 + RNG.poisson(4, 800)
        y = d * (2 + lift) + RNG.normal(0, 1, 800)
        pre_y = pre_d * 2 + RNG.normal(0, 1, 800)
        v = np.stack([y, d, pre_y, pre_d], axis=1)
        records.append(SufficientStatistics.from_units(y, d=d, v=v))
    effect = did_effect(stack(*records), ratio=True)
    changes = [r.did_v[0] / r.did_v[1] - r.did_v[2] / r.did_v[3] for r in records]
    assert effect.effect_abs[0] == pytest.approx(changes[1] - changes[0])
    assert effect.effect_abs_ci_low[0] < 0.4 < effect.effect_abs_ci_high[0]


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("lead", [(2,), (3, 4)])
def test_no_pre_period_and_no_mature_units_are_insufficient(ratio: bool, lead: tuple[int, ...]) -> None:
    effect = did_effect(SufficientStatistics.zeros(lead, m=4 if ratio else 2), ratio=ratio)
    assert set(effect.status.ravel()) == {"insufficient_data"}
    assert set(effect.as_columns()["effect_abs"]) == {None}


def test_units_that_all_change_alike_have_no_variance() -> None:
    pre = RNG.normal(5, 1, 300)
    effect = did_effect(stack(arm(pre + 1, pre), arm(pre + 2, pre)))
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "no_variance")


def test_rare_binary_events_are_insufficient() -> None:
    post, pre = np.repeat([1.0, 0.0], [4, 296]), np.repeat([0.0, 1.0], [150, 150])
    effect = did_effect(stack(arm(post, pre), arm(post, pre)), binary=True)
    assert effect.reason[0] == "too_few_events"


def test_a_control_trend_to_zero_leaves_no_base_for_a_relative_effect() -> None:
    effect = did_effect(stack(group(10, -10, 0), group(10, -10, 0.5)))
    assert effect.status[0] == "ok"
    assert effect.reason[0] == "control_mean_near_zero"
    assert effect.as_columns()["effect_rel"] == [None]


def clusters(count: int, spread: float, lift: float) -> SufficientStatistics:
    """One arm whose clusters of 20 units share a shock to their change; lead (cluster,)."""
    shocks = RNG.normal(0, spread, count)
    return stack(*(group(10, shock, lift, 20) for shock in shocks))


def test_shared_shocks_widen_the_interval_and_cost_degrees_of_freedom() -> None:
    arms = stack(clusters(40, 1.0, 0), clusters(40, 1.0, 0.5))
    clustered, by_unit = clustered_did_effect(arms), did_effect(arms.sum(axis=1))
    assert clustered.effect_abs[0] == pytest.approx(by_unit.effect_abs[0])
    assert clustered.se_abs[0] > 2 * by_unit.se_abs[0]
    assert clustered.df[0] == 39
    assert clustered.reason[0] == ""


def test_few_clusters_are_named_and_one_is_insufficient() -> None:
    few = stack(clusters(5, 1.0, 0), clusters(5, 1.0, 0.5))
    assert clustered_did_effect(few).reason[0] == "few_clusters"
    one = stack(group(10, 0, 0)[None], group(10, 0, 0)[None])
    effect = clustered_did_effect(one)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "fewer_than_two_clusters")
