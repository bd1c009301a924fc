"""Anytime-valid intervals and p-values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.sequential import always_valid_p, half_width, tuning, with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(2)
ARMS = SufficientStatistics.stack([SufficientStatistics.from_units(RNG.normal(5 + a, 2, 300)) for a in range(2)])


def test_the_formulas_are_those_of_the_specification() -> None:
    alpha, planned, n, z = 0.05, 10_000, 4_000, 2.7
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / planned
    assert tuning(alpha, planned) == pytest.approx(rho2)
    width = math.sqrt((1 + n * rho2) / (n * rho2) * math.log((1 + n * rho2) / alpha**2))
    assert half_width(n, rho2, alpha) == pytest.approx(width)
    p = math.sqrt(1 + n * rho2) * math.exp(-(z**2) * n * rho2 / (2 * (1 + n * rho2)))
    assert always_valid_p(z, n, rho2) == pytest.approx(p)


def test_p_is_at_alpha_exactly_where_the_interval_touches_zero() -> None:
    rho2 = tuning(0.05, 10_000)
    n = np.array([200.0, 5_000.0, 1e6])
    assert always_valid_p(half_width(n, rho2, 0.05), n, rho2) == pytest.approx(0.05)


def test_p_never_exceeds_one_and_the_interval_is_wider_than_a_single_look() -> None:
    assert always_valid_p(0.0, 1e6, tuning(0.05, 100)) == 1.0
    effect = with_anytime(mean_effect(ARMS), 10_000)
    assert effect.anytime_ci_low[0] < effect.effect_abs_ci_low[0]
    assert effect.anytime_rel_ci_high[0] > effect.effect_rel_ci_high[0]
    assert effect.anytime_p_value[0] > effect.p_value[0]


def test_it_is_tightest_against_a_single_look_at_about_the_planned_users() -> None:
    n = np.geomspace(100, 1e7, 2001)
    best = n[np.argmin(half_width(n, tuning(0.05, 20_000), 0.05))]
    assert best == pytest.approx(20_000, rel=0.1)


def test_an_effect_without_an_answer_stays_null() -> None:
    effect = with_anytime(mean_effect(SufficientStatistics.zeros((2,))), 10_000).as_columns()
    assert [effect[name][0] for name in effect if name.startswith("anytime")] == [None] * 6
