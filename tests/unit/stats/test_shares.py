"""Shares by the skewness-corrected score test: one verdict on every scale, and no arm without error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from statsmodels.stats.proportion import score_test_proportions_2indep

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.effect import bounds
from exp_platform.stats.score import (
    Shares,
    _moments_at_difference,
    _moments_at_ratio,
    _normal,
    _skewed,
    difference_bounds,
    normal_score,
    null_error,
    ratio_bounds,
)
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

Z = stats.norm.ppf(0.975)


def shares(control: tuple[float, float], treatment: tuple[float, float], shrink: float = 1.0) -> Shares:
    """One comparison from (events, units) of each arm."""
    (x0, n0), (x1, n1) = control, treatment
    return Shares(*(np.array([float(v)]) for v in (x0, n0, x1, n1, x0 / n0, x1 / n1, shrink)))


def arms(control: tuple[int, int], treatment: tuple[int, int]) -> SufficientStatistics:
    return SufficientStatistics.stack(
        [SufficientStatistics.from_units(np.repeat([1.0, 0.0], [x, n - x])) for x, n in (control, treatment)]
    )


def ends(pair: tuple[np.ndarray, np.ndarray]) -> list[float]:
    return [float(pair[0][0]), float(pair[1][0])]


def test_gart_and_nam_1990_skewness_corrected_difference() -> None:
    """7 of 25 against 2 of 25: −0.014 to 0.414. They have no N/(N − 1), which with equal arms is a shrink."""
    found = difference_bounds(shares((2, 25), (7, 25), np.sqrt(49 / 50)), np.array([Z]))
    assert ends(found) == pytest.approx([-0.014, 0.414], abs=0.0015)


@pytest.mark.parametrize("value", [-0.03, 0.0, 0.02, 0.1])
def test_the_variance_of_a_difference_is_that_of_the_likeliest_shares_that_differ_by_it(value: float) -> None:
    """The likelihood is searched here. (statsmodels' shares for a difference other than 0 are not its maximum.)"""
    (x0, n0), (x1, n1) = (9, 300), (40, 500)

    def unlikely(p: float) -> float:
        return -float(stats.binom.logpmf(x0, n0, p) + stats.binom.logpmf(x1, n1, p + value))

    p = minimize_scalar(
        unlikely, bounds=(max(0, -value), 1 - max(0, value)), method="bounded", options={"xatol": 1e-10}
    ).x
    expected = ((p + value) * (1 - p - value) / n1 + p * (1 - p) / n0) * 800 / 799
    found = _moments_at_difference(shares((x0, n0), (x1, n1)), np.array([value]))[0]
    assert found[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [0.5, 1.0, 2.0, 4.0])
def test_the_variance_of_a_ratio_is_that_of_miettinen_and_nurminen(value: float) -> None:
    theirs = score_test_proportions_2indep(40, 500, 9, 300, value=value, compare="ratio", return_results=True)
    z = (40 / 500 - value * 9 / 300) / np.sqrt(_moments_at_ratio(shares((9, 300), (40, 500)), np.array([value]))[0])
    assert z[0] == pytest.approx(theirs.statistic, rel=1e-9)


def test_swapping_the_arms_mirrors_the_interval() -> None:
    one, other = shares((12, 900), (31, 700)), shares((31, 700), (12, 900))
    low, high = ends(difference_bounds(one, np.array([Z])))
    assert ends(difference_bounds(other, np.array([Z]))) == pytest.approx([-high, -low], rel=1e-9)
    low, high = ends(ratio_bounds(one, np.array([Z])))
    assert ends(ratio_bounds(other, np.array([Z]))) == pytest.approx([1 / high, 1 / low], rel=1e-9)


def test_the_normal_score_and_the_quantile_are_inverse_to_one_another_and_rise() -> None:
    scores = np.linspace(-9, 9, 401)
    for skewness in (-1.5, -0.2, 0.0, 1e-12, 0.3, 2.0):
        z = _skewed(scores, np.full_like(scores, skewness))
        assert (np.diff(z) > 0).all()
        assert _normal(z, np.full_like(scores, skewness)) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("critical", [1.5, Z, 3.4, 6.0])
def test_difference_ratio_and_score_give_one_verdict(critical: float) -> None:
    rng = np.random.default_rng(4)
    n0, n1 = rng.integers(200, 40_000, (2, 400)).astype(float)
    x0, x1 = (np.maximum(rng.binomial(n.astype(int), 0.01), 1.0) for n in (n0, n1))
    s = Shares(x0, n0, x1, n1, x0 / n0, x1 / n1, np.full(400, 0.9))
    at = np.full(400, critical)
    low, high = difference_bounds(s, at)
    ratio_low, ratio_high = ratio_bounds(s, at)
    beyond = np.abs(normal_score(s)) > critical
    assert ((low > 0) | (high < 0)).tolist() == beyond.tolist()
    assert ((ratio_low > 1) | (ratio_high < 1)).tolist() == beyond.tolist()
    assert (low < x1 / n1 - x0 / n0).all()
    assert (high > x1 / n1 - x0 / n0).all()


def test_p_is_below_alpha_exactly_where_both_intervals_exclude_zero() -> None:
    for events in range(60, 150, 3):
        effect = with_anytime(mean_effect(arms((900, 9_000), (events, 1_000)), binary=True), 10_000)
        for p, low, high in (
            (effect.p_value, effect.effect_abs_ci_low, effect.effect_abs_ci_high),
            (effect.p_value, effect.effect_rel_ci_low, effect.effect_rel_ci_high),
            (effect.anytime_p_value, effect.anytime_ci_low, effect.anytime_ci_high),
            (effect.anytime_p_value, effect.anytime_rel_ci_low, effect.anytime_rel_ci_high),
        ):
            assert bool(p[0] < 0.05) == bool(low[0] > 0 or high[0] < 0), events


def test_an_arm_without_an_event_has_the_bound_of_a_score_interval() -> None:
    """200 of 9,000 against none of 1,000, where 22 were expected: 2.8 of them could have stayed away by chance."""
    effect = mean_effect(arms((200, 9_000), (0, 1_000)), binary=True)
    assert effect.status[0] == "ok"
    assert effect.effect_rel[0] == -1.0
    assert effect.effect_rel_ci_low[0] == -1.0
    assert effect.effect_rel_ci_high[0] == pytest.approx(2.81 / 22.2 - 1, abs=0.003)
    assert effect.effect_abs_ci_low[0] < -200 / 9_000 < effect.effect_abs_ci_high[0] < -0.017


def test_ten_events_against_none_in_a_small_arm_are_not_enough_to_answer() -> None:
    effect = mean_effect(arms((10, 1_800), (0, 200)), binary=True)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "too_few_events")


def test_control_without_an_event_leaves_nothing_to_be_relative_to() -> None:
    effect = mean_effect(arms((0, 1_000), (200, 9_000)), binary=True)
    assert (effect.status[0], effect.reason[0]) == ("ok", "control_mean_near_zero")
    assert effect.effect_abs_ci_low[0] > 0.015
    assert np.isnan(bounds(effect, np.array([Z]))[2:]).all()


def test_a_ratio_that_no_critical_value_bounds_is_null_and_not_huge() -> None:
    """Five events in control, early in a long experiment: the sequence asks for nine standard errors."""
    effect = with_anytime(mean_effect(arms((5, 200), (20, 200)), binary=True), 100_000).as_columns()
    assert effect["effect_rel_ci_high"][0] < 20
    assert [effect["anytime_rel_ci_low"][0], effect["anytime_rel_ci_high"][0]] == [None, None]
    assert effect["reason"] == ["control_mean_near_zero_until_the_end"]


def test_with_equal_arms_of_ordinary_rates_it_is_welch_but_for_a_hundredth_of_the_width() -> None:
    both = arms((1_000, 10_000), (1_080, 10_000))
    score, plain = mean_effect(both, binary=True), mean_effect(both)
    assert score.p_value[0] == pytest.approx(plain.p_value[0], rel=0.002)
    width, theirs = (e.effect_abs_ci_high[0] - e.effect_abs_ci_low[0] for e in (score, plain))
    assert width == pytest.approx(theirs, rel=0.01)


def test_the_error_is_that_of_one_common_share() -> None:
    found = null_error(shares((90, 900), (10, 300)))
    p, n = 100 / 1200, 1200
    assert found[0] == pytest.approx(np.sqrt(p * (1 - p) * (1 / 900 + 1 / 300) * n / (n - 1)), rel=1e-9)
