"""Sanity checks, planning, multiplicity, heterogeneity and novelty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.heterogeneity import heterogeneity
from exp_platform.stats.multiplicity import benjamini_hochberg, holm, holm_by_family
from exp_platform.stats.novelty import novelty_trend
from exp_platform.stats.power import (
    chance_to_pass,
    days_to_planned,
    power_of,
    required_units,
    required_units_anytime,
    share_sd,
)
from exp_platform.stats.sanity import (
    outlier_share,
    pre_period_effect,
    share_with_value,
    skewness,
    twyman,
)
from exp_platform.stats.sequential import always_valid_p, tuning
from exp_platform.stats.sufficient import SufficientStatistics
from exp_platform.status import CheckStatus

RNG = np.random.default_rng(6)


def stack(*records: SufficientStatistics) -> SufficientStatistics:
    return SufficientStatistics.stack(records)


def test_skewness_is_that_of_the_units_and_warns_when_the_arm_is_too_small_for_it() -> None:
    values = RNG.lognormal(0, 1.0, 3000)
    found = skewness(SufficientStatistics.from_units(values))
    assert found.skewness == pytest.approx(stats.skew(values), rel=1e-9)
    assert found.needed_n == pytest.approx(355 * stats.skew(values) ** 2, rel=1e-9)
    assert bool(found.warn)
    assert not skewness(SufficientStatistics.from_units(RNG.normal(0, 1, 3000))).warn


def test_a_constant_or_empty_metric_has_no_skewness_and_no_warning() -> None:
    found = skewness(stack(SufficientStatistics.from_units(np.full(50, 0.1)), SufficientStatistics.zeros()))
    assert np.isnan(found.skewness).all()
    assert not found.warn.any()


def test_the_pre_period_comparison_sees_a_difference_that_was_there_before() -> None:
    x = [RNG.normal(5 + 0.5 * arm, 1, 800) for arm in range(2)]
    arms = stack(*(SufficientStatistics.from_units(v, x=v) for v in x))
    effect = pre_period_effect(arms)
    theirs = stats.ttest_ind(x[1], x[0], equal_var=False)
    assert effect.p_value[0] == pytest.approx(theirs.pvalue, rel=1e-9)


def test_the_pre_period_of_a_ratio_is_compared_as_a_ratio() -> None:
    d = [1.0 + RNG.poisson(3, 500) for _ in range(2)]
    arms = stack(*(SufficientStatistics.from_units(v, d=v, x=np.stack([2 * v, v], axis=1)) for v in d))
    effect = pre_period_effect(arms, ratio=True)
    assert effect.control_mean[0] == pytest.approx(2.0)
    assert effect.reason[0] == "no_variance"


def test_before_the_experiment_a_small_arm_without_the_large_values_is_no_difference() -> None:
    """The skewness of the outcome, here none, says nothing of that of the covariate."""
    x = [np.where(RNG.random(n) < 0.03, size, 0.0) for n, size in ((4_500, 400.0), (500, 1.0))]
    arms = stack(*(SufficientStatistics.from_units(RNG.normal(5, 1, len(v)), x=v) for v in x))
    own = stats.ttest_ind(x[1], x[0], equal_var=False)
    assert own.pvalue < 1e-9
    assert pre_period_effect(arms).p_value[0] > 1e-4


def test_losing_the_values_of_one_arm_is_seen_in_the_share_with_value() -> None:
    values = RNG.normal(5, 1, 1000)
    fewer = np.where(RNG.random(1000) < 0.1, np.nan, values)
    effect = share_with_value(stack(*(SufficientStatistics.from_units(v) for v in (values, fewer))))
    assert effect.treatment_mean[0] == pytest.approx(np.mean(~np.isnan(fewer)))
    assert effect.p_value[0] < 0.001


def test_when_every_unit_has_a_value_there_is_no_difference_to_warn_of() -> None:
    record = SufficientStatistics.from_units(RNG.normal(5, 1, 1000))
    effect = share_with_value(stack(record, record))
    assert effect.reason[0] == "no_variance"


def test_one_extreme_unit_puts_the_spread_into_its_bucket() -> None:
    values = RNG.gamma(2.0, 2.0, 256 * 20)
    spiked = values.copy()
    spiked[77] = 5000.0
    for units, warns in ((values, False), (spiked, True)):
        buckets = stack(*(SufficientStatistics.from_units(units[b::256]) for b in range(256)))
        assert outlier_share(buckets)[1] == warns


@pytest.mark.parametrize(
    ("effect", "p_value", "history", "warn"),
    [
        (0.10, 0.01, [0.01, -0.02, 0.03, 0.01, -0.04], True),
        (0.07, 0.01, [0.01, -0.02, 0.03, 0.01, -0.04], False),
        (0.10, 0.30, [0.01, -0.02, 0.03, 0.01, -0.04], False),
        (0.10, 0.01, [0.01, None], False),
        (0.60, 0.01, [], True),
        (None, None, [], False),
    ],
    ids=["beyond twice the largest", "within it", "not significant", "no history", "incredible anyway", "no effect"],
)
def test_twymans_law(effect: float | None, p_value: float | None, history: list[float | None], warn: bool) -> None:
    assert twyman(effect, p_value, history).warn is warn


@pytest.mark.parametrize("effect", [0.5, 5.0, 20.0])
def test_required_units_are_the_fewest_that_have_the_power_asked_for(effect: float) -> None:
    n = required_units(10.0, effect)

    def power(units: int) -> float:
        return float(power_of(effect, 10 * np.sqrt(2 / units), 2 * units - 2))

    assert power(n - 1) < 0.8 <= power(n)


def test_required_units_of_large_plans_are_those_of_the_normal_distribution() -> None:
    assert required_units(1.0, 1e-4) == pytest.approx(2 * (1.959964 + 0.841621) ** 2 * 1e8, rel=1e-6)


@pytest.mark.parametrize(("arms", "comparisons"), [(2, 1), (4, 3)])
def test_units_of_the_anytime_test_find_the_effect_with_the_power_asked_for_at_the_last_look(
    arms: int, comparisons: int
) -> None:
    n = required_units_anytime(10.0, 0.5, arms=arms, comparisons=comparisons)
    se = 10 * np.sqrt(2 / n)
    z = RNG.normal(0.5 / se, 1, 200_000)
    found = always_valid_p(z, 2 * n, tuning(0.05, arms * n)) < 0.05 / comparisons
    assert found.mean() == pytest.approx(0.8, abs=0.005)
    assert n > required_units(10.0, 0.5, alpha=0.05 / comparisons)


def test_a_conversion_rate_is_planned_with_its_own_spread() -> None:
    assert share_sd(0.10, 0.01) == pytest.approx(np.sqrt((0.1 * 0.9 + 0.11 * 0.89) / 2))
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        share_sd(0.9, 0.2)


@pytest.mark.parametrize(("sd", "effect"), [(0.0, 0.1), (1.0, 0.0), (float("nan"), 0.1)])
def test_a_plan_that_cannot_be_made_is_refused_by_name(sd: float, effect: float) -> None:
    with pytest.raises(ValueError, match="must be a finite number above 0"):
        required_units(sd, effect)


def test_the_chance_to_pass_counts_one_side_only() -> None:
    assert chance_to_pass(0.0, 1.0, 1e6) == pytest.approx(0.025, abs=1e-5)
    assert power_of(0.0, 1.0, 1e6) == pytest.approx(0.05, abs=1e-5)
    assert chance_to_pass(1.959964 + 0.841621, 1.0, 1e6) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(
    ("units", "days", "planned", "left"), [(500, 5, 1000, 5), (501, 5, 1000, 5), (1000, 5, 1000, 0), (0, 3, 10, None)]
)
def test_days_to_the_planned_units_follow_the_rate_so_far(
    units: int, days: int, planned: int, left: int | None
) -> None:
    assert days_to_planned(units, days, planned) == left


def test_holm_and_benjamini_hochberg_leave_questions_without_an_answer_out() -> None:
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
    assert benjamini_hochberg([[0.01, 0.04], [0.03, np.nan]]) == pytest.approx(
        np.array([[0.03, 0.04], [0.04, np.nan]]), nan_ok=True
    )
    assert np.isnan(holm([np.nan])).all()
    assert holm([]).size == 0


def test_families_are_adjusted_apart() -> None:
    assert holm_by_family([0.01, 0.02, 0.03], ["a", "b", "b"]) == pytest.approx([0.01, 0.04, 0.04])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_holm_and_benjamini_hochberg_are_those_of_statsmodels(axis: int) -> None:
    table = RNG.random((6, 6)) ** 3
    expected = np.apply_along_axis(lambda p: multipletests(p, method="holm")[1], axis, table)
    assert holm(table, axis=axis) == pytest.approx(expected, rel=1e-12)
    assert benjamini_hochberg(table[0]) == pytest.approx(multipletests(table[0], method="fdr_bh")[1], rel=1e-12)


def test_the_number_of_questions_is_counted_in_each_family() -> None:
    table = np.array([[0.01, np.nan, 0.04], [np.nan, np.nan, 0.3]])
    expected = np.array([[0.02, np.nan, 0.04], [np.nan, np.nan, 0.3]])
    assert holm(table, axis=1) == pytest.approx(expected, nan_ok=True)


def segments(lifts: list[float]) -> SufficientStatistics:
    arms = [
        stack(*(SufficientStatistics.from_units(RNG.normal(10 + arm * lift, 2, 1000)) for lift in lifts))
        for arm in (0, 1)
    ]
    return stack(*arms)


def test_heterogeneity_is_seen_when_segments_differ_and_not_when_they_agree() -> None:
    assert heterogeneity(mean_effect(segments([0.0, 0.0, 2.0]))).p_value[0] < 1e-6
    assert heterogeneity(mean_effect(segments([0.5, 0.5, 0.5]))).p_value[0] > 0.01


def test_heterogeneity_needs_two_segments_with_an_answer() -> None:
    one = stack(
        *(stack(SufficientStatistics.from_units(RNG.normal(0, 1, 200)), SufficientStatistics.zeros()) for _ in range(2))
    )
    found = heterogeneity(mean_effect(one))
    assert np.isnan([found.q[0], found.p_value[0], found.df[0]]).all()


def test_a_fading_effect_warns_and_a_steady_one_does_not() -> None:
    days = np.arange(14)
    error = np.full(14, 0.05)
    noise = RNG.normal(0, 0.05, 14)
    fading = novelty_trend(days, 1.0 - 0.06 * days + noise, error)
    steady = novelty_trend(days, 0.5 + noise, error)
    assert (fading.status, steady.status) == (CheckStatus.WARN, CheckStatus.OK)
    assert fading.early > fading.late
    assert fading.slope == pytest.approx(-0.06, abs=0.02)


def test_days_of_the_same_units_need_their_covariance() -> None:
    days, cov = np.arange(10), 0.01 * np.eye(10) + 0.25
    effect = RNG.multivariate_normal(np.full(10, 0.5), cov)
    with_cov = novelty_trend(days, effect, np.sqrt(np.diag(cov)), covariance=cov)
    assert with_cov.se == pytest.approx(0.1 / np.sqrt(((days - 4.5) ** 2).sum()), rel=1e-6)


def test_three_days_are_no_trend() -> None:
    found = novelty_trend([1, 2, 3, 4], [1.0, 2.0, 3.0, np.nan], [0.1, 0.1, 0.1, 0.1])
    assert (found.slope, found.p_value, found.status) == (None, None, CheckStatus.OK)
