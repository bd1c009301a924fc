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


def test_a_date_with_two_control_units_that_carries_the_effect_is_insufficient() -> None:
    """Their own spread would be the error of it all: a tenth of such experiments without an effect were significant."""
    control = stack(group(10, 0, 0, 2), group(10, 0, 0, 200))
    treatment = stack(group(10, 0, 0, 900), group(10, 0, 0, 100))
    effect = did_effect(stack(control, treatment), by_cohort_date=True)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "cohort_dates_too_uneven")
    light = did_effect(stack(control, stack(group(10, 0, 0, 20), group(10, 0, 0, 900))), by_cohort_date=True)
    assert (light.status[0], light.reason[0]) == ("ok", "")


def ratio_arm(n: int = 400, d: float = 1.0, pre_d: float = 1.0) -> SufficientStatistics:
    """Numerators around 5; the denominators are Poisson, or all 0 where the factor is 0."""
    y, pre_y = RNG.normal(5, 1, n), RNG.normal(5, 1, n)
    return SufficientStatistics.from_units(
        y, v=np.stack([y, d * (1 + RNG.poisson(4, n)), pre_y, pre_d * (1 + RNG.poisson(4, n))], axis=1)
    )


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("empty", [{"d": 0.0}, {"pre_d": 0.0}, {"d": 0.0, "pre_d": 0.0}])
@pytest.mark.parametrize("both", [False, True])
def test_a_ratio_with_nothing_to_divide_by_says_so(empty: dict[str, float], both: bool) -> None:
    """Numerators without a denominator are infinite levels, whose difference is no number at all."""
    arms = stack(ratio_arm(**(empty if both else {})), ratio_arm(**empty))
    for effect in (did_effect(arms, ratio=True), did_effect(arms[:, None], ratio=True, by_cohort_date=True)):
        assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "zero_denominator")
        assert effect.treatment_n[0] == 400


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_cohort_date_without_a_denominator_is_left_out_and_does_not_take_the_others_with_it() -> None:
    arms = stack(stack(ratio_arm(), ratio_arm(pre_d=0.0)), stack(ratio_arm(), ratio_arm()))
    effect = did_effect(arms, ratio=True, by_cohort_date=True)
    alone = did_effect(arms[:, :1], ratio=True, by_cohort_date=True)
    assert (effect.status[0], effect.reason[0]) == ("ok", "cohort_dates_without_both_arms")
    assert effect.effect_abs[0] == alone.effect_abs[0]
    clustered = clustered_did_effect(stack(*(arms[i][:, None] for i in (0, 1))), ratio=True, by_cohort_date=True)
    assert clustered.treatment_n[0] == 400


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


def shocked(of_store: list[int], n: int = 30, lift: float = 0.0) -> SufficientStatistics:
    """One arm on one date; each listed store of 60 holds `n` units that share the store's shock. Lead (store,)."""
    shocks = np.random.default_rng(3).normal(0, 1, 60)
    empty = SufficientStatistics.zeros(m=2)
    return stack(*(group(10, shocks[i], lift, n) if i in of_store else empty for i in range(60)))


def test_a_single_treated_cluster_is_insufficient_however_many_control_has() -> None:
    """Its units' deviations from their own mean add up to 0, so that the treated arm would seem to have no error."""
    effect = clustered_did_effect(stack(shocked(list(range(40))), shocked([50], n=300)))
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "fewer_than_two_clusters")
    two = clustered_did_effect(stack(shocked(list(range(40))), shocked([50, 51], n=300)))
    assert two.status[0] == "ok"


def test_clusters_in_one_arm_each_bring_their_own_degrees_of_freedom() -> None:
    """Forty control stores know nothing of how two treated ones differ: 28% of A/A experiments were significant."""
    two = clustered_did_effect(stack(shocked(list(range(40))), shocked([50, 51], n=60)))
    assert two.df[0] < 3
    assert two.reason[0] == "few_clusters"
    even = clustered_did_effect(stack(shocked(list(range(20))), shocked(list(range(20, 40)))))
    assert 30 < even.df[0] <= 38
    spanning = clustered_did_effect(stack(shocked(list(range(40))), shocked(list(range(40)))))
    assert spanning.df[0] == 39


def test_without_an_effect_few_treated_clusters_are_seldom_significant() -> None:
    rng, hits = np.random.default_rng(8), 0
    for _ in range(150):
        sums = []
        for count in (30, 3):
            shock = rng.normal(0, 0.5, (count, 1))
            pre = rng.normal(10, 1, (count, 20))
            sums.append([arm(p, q) for p, q in zip(pre + shock + rng.normal(0, 0.5, pre.shape), pre, strict=True)])
        empty = SufficientStatistics.zeros(m=2)
        arms = stack(stack(*sums[0], *[empty] * 3), stack(*[empty] * 30, *sums[1]))
        hits += clustered_did_effect(arms, min_units=2).p_value[0] < 0.05
    assert hits / 150 < 0.12


def test_one_treated_cluster_on_each_date_is_insufficient_and_on_some_dates_is_named() -> None:
    control = stack(shocked(list(range(40))), shocked(list(range(40))))
    one_each = stack(control, stack(shocked([50], n=200), shocked([51], n=200)))
    effect = clustered_did_effect(one_each, by_cohort_date=True)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "fewer_than_two_clusters")
    some = stack(control, stack(shocked(list(range(45, 55)), n=200), shocked([51], n=200)))
    effect = clustered_did_effect(some, by_cohort_date=True)
    assert (effect.status[0], effect.reason[0]) == ("ok", "cohort_dates_with_one_cluster")
