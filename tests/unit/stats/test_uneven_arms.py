"""The error of uneven arms: what a small arm does not show, the large one does."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.stats.ab import against_control, mean_arm, mean_effect
from exp_platform.stats.error import larger, welch
from exp_platform.stats.moments import too_skewed
from exp_platform.stats.sequential import with_anytime, with_anytime_mde
from exp_platform.stats.student import t_quantile
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(21)
HEAVY = np.where(RNG.random(4_500) < 0.05, RNG.lognormal(0, 2, 4_500), 0.0)
QUIET = np.where(RNG.random(500) < 0.05, 0.2, 0.0)  # the small arm has seen none of the large values


def arms(*values: np.ndarray) -> SufficientStatistics:
    return SufficientStatistics.stack([SufficientStatistics.from_units(v) for v in values])


@pytest.mark.parametrize("order", [(HEAVY, QUIET), (QUIET, HEAVY)], ids=["small treatment", "small control"])
def test_a_small_arm_without_the_large_values_takes_the_pooled_error(order: tuple[np.ndarray, np.ndarray]) -> None:
    effect, own = mean_effect(arms(*order)), against_control(mean_arm(arms(*order)))
    within = sum(((v - v.mean()) ** 2).sum() for v in order) / 4_998
    assert effect.se_abs[0] == pytest.approx(np.sqrt(within * (1 / 4_500 + 1 / 500)), rel=1e-9)
    assert effect.se_abs[0] > 2 * own.se_abs[0]
    assert effect.df[0] == 4_998


def test_a_small_arm_that_shows_more_than_the_large_one_keeps_its_own_error() -> None:
    loud = np.where(RNG.random(500) < 0.2, RNG.lognormal(1, 2, 500), 0.0)
    both = arms(HEAVY, loud)
    assert mean_effect(both).se_abs[0] == against_control(mean_arm(both)).se_abs[0]


def test_equal_arms_have_one_error_whatever_their_spread() -> None:
    both = arms(HEAVY[:500], 3 * HEAVY[500:1000])
    arm = mean_arm(both)
    assert larger(arm[:1], arm[1:]).variance[0] == welch(arm[:1], arm[1:]).variance[0]
    assert mean_effect(both).df[0] == against_control(arm).df[0]


def test_units_without_skewness_keep_welchs_error_however_uneven_the_arms() -> None:
    """A small arm shows the spread of ordinary values, also where it is truly the smaller one."""
    both = arms(RNG.normal(10, 3, 9_000), RNG.normal(10, 1, 1_000))
    assert not too_skewed(both)[0]
    assert mean_effect(both).se_abs[0] == against_control(mean_arm(both)).se_abs[0]


@pytest.mark.parametrize(("n", "skewed"), [(1_000, True), (2_500, False)])
def test_the_skewness_rule_asks_for_355_units_for_each_squared_unit_of_skewness(n: int, skewed: bool) -> None:
    """An exponential's skewness is 2, so that the smaller arm needs 1,420 units."""
    both = arms(RNG.exponential(1, 20_000), RNG.exponential(1, n))
    assert too_skewed(both).tolist() == [skewed]


def test_while_the_anytime_interval_is_in_force_the_detectable_effect_is_that_of_its_test() -> None:
    fixed = with_anytime(mean_effect(arms(RNG.normal(5, 1, 400), RNG.normal(5, 1, 400))), 800)
    daily = with_anytime_mde(fixed, 800)
    factor = (fixed.anytime_ci_high[0] - fixed.effect_abs[0]) / fixed.se_abs[0]
    expected = (factor + t_quantile(0.8, fixed.df)[0]) * fixed.se_abs[0]
    assert daily.mde[0] == pytest.approx(expected, rel=1e-9)
    assert daily.mde[0] > 1.3 * fixed.mde[0]
    assert daily.mde_rel[0] == pytest.approx(daily.mde[0] / fixed.control_mean[0], rel=1e-9)
