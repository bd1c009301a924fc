"""Fieller's interval: the ratios that a test of treatment − ratio · control does not refuse."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.arm import Arm, Base
from exp_platform.stats.effect import compare
from exp_platform.stats.relative import fieller
from exp_platform.stats.sequential import half_width, tuning, with_anytime
from exp_platform.stats.student import t_quantile
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(12)
CONTROL, TREATMENT = RNG.gamma(1.0, 3.0, 300), RNG.gamma(1.0, 4.0, 300)


def effect_of(control: np.ndarray, treatment: np.ndarray):
    return mean_effect(SufficientStatistics.stack([SufficientStatistics.from_units(v) for v in (control, treatment)]))


def standardised(ratio: float, control: np.ndarray, treatment: np.ndarray) -> float:
    """The z value of treatment − ratio · control, from unit rows."""
    variance = treatment.var(ddof=1) / len(treatment) + ratio**2 * control.var(ddof=1) / len(control)
    return float((treatment.mean() - ratio * control.mean()) / np.sqrt(variance))


def test_at_its_ends_the_test_of_the_ratio_is_at_its_critical_value() -> None:
    effect = effect_of(CONTROL, TREATMENT)
    t = t_quantile(0.975, effect.df)[0]
    assert standardised(1 + effect.effect_rel_ci_low[0], CONTROL, TREATMENT) == pytest.approx(t, rel=1e-9)
    assert standardised(1 + effect.effect_rel_ci_high[0], CONTROL, TREATMENT) == pytest.approx(-t, rel=1e-9)


def test_before_the_planned_end_the_factor_of_the_sequence_takes_the_place_of_t() -> None:
    effect = with_anytime(effect_of(CONTROL, TREATMENT), 600)
    factor = half_width(600.0, tuning(0.05, 600), 0.05)
    assert standardised(1 + effect.anytime_rel_ci_low[0], CONTROL, TREATMENT) == pytest.approx(factor, rel=1e-9)


def test_both_scales_exclude_zero_together_and_have_one_p() -> None:
    for shift in np.linspace(-1.2, 1.2, 49):
        effect = with_anytime(effect_of(CONTROL, CONTROL[::-1] * 0.7 + 0.3 * TREATMENT + shift), 600)
        significant = bool(effect.p_value[0] < 0.05)
        for low, high in (
            (effect.effect_abs_ci_low, effect.effect_abs_ci_high),
            (effect.effect_rel_ci_low, effect.effect_rel_ci_high),
        ):
            assert bool(low[0] > 0 or high[0] < 0) == significant
        assert effect.p_value_rel[0] == effect.p_value[0]
        assert effect.anytime_p_value_rel[0] == effect.anytime_p_value[0]


def test_it_lies_further_out_on_the_side_where_control_may_be_small() -> None:
    effect = effect_of(CONTROL, TREATMENT)
    above = effect.effect_rel_ci_high[0] - effect.effect_rel[0]
    assert above > 1.05 * (effect.effect_rel[0] - effect.effect_rel_ci_low[0])


def test_a_negative_control_mean_mirrors_it() -> None:
    up, down = effect_of(CONTROL, TREATMENT), effect_of(-CONTROL, -TREATMENT)
    assert down.effect_rel_ci_low[0] == pytest.approx(-up.effect_rel_ci_high[0], rel=1e-9)
    assert down.effect_rel_ci_high[0] == pytest.approx(-up.effect_rel_ci_low[0], rel=1e-9)


@pytest.mark.parametrize(("base", "known"), [(1.95, False), (1.97, True)])
def test_it_exists_exactly_where_the_bases_own_interval_excludes_zero(base: float, known: bool) -> None:
    one = np.ones(1)
    low, high, found = fieller(one, 2 * one, base * one, one, -one, 1.96 * one)
    assert found.tolist() == [known]
    assert not known or low[0] < 1 / base < high[0]


def test_a_base_too_near_zero_for_daily_looks_alone_says_so() -> None:
    """Control's mean is 3 standard errors away from 0: enough for one look, not for thirty."""
    level = np.full(1, 0.3)
    control, treatment = (
        Arm(np.full(1, 500.0), level * up, level, np.full(1, 0.01), np.full(1, 499.0)) for up in (1, 2)
    )
    effect = with_anytime(compare(control, treatment), 1_000).as_columns()
    assert effect["effect_rel_ci_high"][0] > effect["effect_rel"][0] > 0
    assert [effect["anytime_rel_ci_low"][0], effect["anytime_p_value_rel"][0]] == [None, None]
    assert effect["anytime_p_value"][0] is not None
    assert effect["reason"] == ["control_mean_near_zero_until_the_end"]


def test_the_covariance_with_another_base_is_heeded() -> None:
    """An effect that moves with its base has a relative one that hardly moves."""
    one = np.ones(1)
    arm = Arm(one * 1000, one * 10, one, one * 0.5, one * 999)
    together, apart = (
        compare(arm, arm, effect_abs=one * 5, base=Base(one * 10, one * 0.25, one * cov, one * 999))
        for cov in (0.4, -0.4)
    )
    widths = [e.effect_rel_ci_high[0] - e.effect_rel_ci_low[0] for e in (together, apart)]
    assert widths[0] < widths[1]


def test_with_a_pooled_error_the_base_has_the_pooled_variance_too() -> None:
    """Where the small arm is control the relative interval must know how badly control's mean is known."""
    rng = np.random.default_rng(3)
    heavy = np.where(rng.random(9_000) < 0.3, rng.lognormal(0, 1.5, 9_000), 0.0) + 5
    quiet = np.where(rng.random(1_000) < 0.3, 0.8, 0.0) + 5
    effect = effect_of(quiet, heavy)
    within = sum(((v - v.mean()) ** 2).sum() for v in (quiet, heavy)) / 9_998
    assert effect.base_var[0] == pytest.approx(within / 1_000, rel=1e-9)
    assert effect.base_cov[0] == pytest.approx(-within / 1_000, rel=1e-9)
    t, ratio = t_quantile(0.975, effect.df)[0], 1 + effect.effect_rel_ci_high[0]
    error = np.sqrt(within * (1 / 9_000 + ratio**2 / 1_000))
    assert (heavy.mean() - ratio * quiet.mean()) / error == pytest.approx(-t, rel=1e-9)
