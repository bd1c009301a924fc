"""Difference-in-differences: what it controls for, and what it leaves without an answer."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import before_and_after, did_effect
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


@pytest.mark.parametrize("by_cohort_date", [False, True])
@pytest.mark.parametrize(
    ("control", "treatment", "word"),
    [
        ((0.0, 1.0), (0.0, 1.0), "no_events_after"),
        ((1.0, 1.0), (0.0, 1.0), "no_events_after"),
        ((0.0, 1.0), (1.0, 1.0), "no_events_after"),
        ((1.0, 0.0), (1.0, 1.0), "no_events_before"),
        ((1.0, 1.0), (1.0, 0.0), "no_events_before"),
    ],
)
def test_an_arm_without_any_event_in_a_period_has_no_answer(
    control: tuple[float, float], treatment: tuple[float, float], word: str, by_cohort_date: bool
) -> None:
    """A window without an event gave minus the difference before: -100% (-100% to -100%), and Ship."""
    sides = ((control, 309), (treatment, 140))
    arms = stack(*(arm(after * RNG.gamma(2, 1, n), before * RNG.gamma(2, 1, n)) for (after, before), n in sides))
    effect = did_effect(arms[:, None] if by_cohort_date else arms, by_cohort_date=by_cohort_date)
    assert (effect.status[0], effect.reason[0].split(", ")[0]) == ("insufficient_data", word)
    assert effect.as_columns()["effect_abs"] == effect.as_columns()["effect_rel_ci_low"] == [None]
    several = stack(*(clusters_of(arms[i]) for i in (0, 1)))
    assert word in clustered_did_effect(several).reason[0]


def clusters_of(one: SufficientStatistics, count: int = 6) -> SufficientStatistics:
    """Deal the units of an arm into equal clusters."""
    return stack(*[SufficientStatistics(**{name: value / count for name, value in vars(one).items()})] * count)


def test_events_that_only_a_date_without_control_has_do_not_count() -> None:
    quiet, lively = arm(np.zeros(200), RNG.gamma(2, 1, 200)), arm(RNG.gamma(2, 1, 200), RNG.gamma(2, 1, 200))
    control, treatment = stack(lively, SufficientStatistics.zeros(m=2)), stack(quiet, lively)
    effect = did_effect(stack(control, treatment), by_cohort_date=True)
    assert effect.reason[0] == "no_events_after, cohort_dates_without_both_arms"


def test_a_mean_of_which_no_unit_is_seen_before_and_after_says_so() -> None:
    """A repeated cross-section: each user has a value in one of the two periods."""
    once = SufficientStatistics.from_units(RNG.normal(5, 1, 300), v=np.zeros((0, 2)))
    effect = did_effect(stack(group(5, 0, 0), once))
    assert effect.reason[0] == "arm_below_min_units, no_unit_before_and_after"


@pytest.mark.parametrize("by_cohort_date", [False, True])
def test_the_four_means_leave_the_effect(by_cohort_date: bool) -> None:
    arms = stack(stack(group(10, 2, 0, 90), group(11, 1, 0)), stack(group(14, 2, 0.5), group(9, 1, 0.5, 80)))
    arms = arms if by_cohort_date else arms.sum(axis=1)
    means = before_and_after(arms, by_cohort_date=by_cohort_date)
    effect = did_effect(arms, by_cohort_date=by_cohort_date)
    change = means.treatment_after - means.treatment_before, means.control_after - means.control_before
    assert effect.effect_abs[0] == pytest.approx((change[0] - change[1])[0])
    assert effect.control_mean[0] == means.control_after[0] and effect.treatment_mean[0] == means.treatment_after[0]


def test_a_binary_metric_needs_ten_events_expected_in_the_smaller_arm() -> None:
    """Twelve of 4,500 and of 500: the smaller arm can expect two and a half, whose spread is not known."""
    for control, word in ((4500, "too_few_events"), (600, "")):
        arms = stack(
            *(
                arm(np.repeat([1.0, 0.0], [k, n - k]), np.repeat([0.0, 1.0], [n - 40, 40]))
                for n, k in ((control, 12), (500, 12))
            )
        )
        assert did_effect(arms, binary=True).reason[0] == word


def test_rare_binary_events_are_insufficient() -> None:
    post, pre = np.repeat([1.0, 0.0], [4, 296]), np.repeat([0.0, 1.0], [150, 150])
    effect = did_effect(stack(arm(post, pre), arm(post, pre)), binary=True)
    assert effect.reason[0] == "too_few_events"


def test_a_control_trend_to_zero_leaves_no_base_for_a_relative_effect() -> None:
    effect = did_effect(stack(group(10, -10, 0), group(10, -10, 0.5)))
    assert effect.status[0] == "ok"
    assert effect.reason[0] == "control_mean_near_zero"
    assert effect.as_columns()["effect_rel"] == [None]
