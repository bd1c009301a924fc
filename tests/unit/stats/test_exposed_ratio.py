"""The complier effect of a ratio, in worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exp_platform.calibration.exposed import CLICKS, SPEND, split_by_exposure
from exp_platform.stats.complier import FEW_EXPOSED, complier_effect, per_exposed
from exp_platform.stats.exposed_ratio import complier_ratio_effect
from exp_platform.stats.ratio import FEW_DENOMINATORS, ratio_effect
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

LIFT = 0.3


def world(seed: int, rate: float = 0.4, lift: float = LIFT, experiments: int = 300, **keys: float):
    return split_by_exposure(CLICKS, np.random.default_rng(seed), experiments, (600, 600), rate, lift, **keys)


@pytest.mark.parametrize("moves", [1.0, 1.5], ids=["same denominator", "the treatment adds to the denominator"])
def test_the_effect_on_those_reached_is_covered_whatever_the_treatment_does_to_their_denominator(moves):
    found = complier_ratio_effect(*world(1, moves=moves))
    assert np.mean(found.effect_rel) == pytest.approx(LIFT, abs=0.02)
    assert 0.92 < np.mean((found.effect_rel_ci_low <= LIFT) & (found.effect_rel_ci_high >= LIFT)) < 0.98
    assert found.se_rel.mean() == pytest.approx(found.effect_rel.std(), rel=0.12)


def test_with_everyone_exposed_it_is_the_effect_on_all():
    everyone, exposed = world(2, rate=1.0, experiments=3)
    found, plain = per_exposed(complier_ratio_effect(everyone, exposed)), ratio_effect(everyone)
    np.testing.assert_allclose(found.effect_abs, plain.effect_abs)
    np.testing.assert_allclose(found.se_abs, plain.se_abs, rtol=0.01)


def test_a_ratio_whose_denominator_is_one_is_the_mean():
    everyone, exposed = split_by_exposure(SPEND, np.random.default_rng(3), 3, (600, 600), 0.4, LIFT)
    counted = [replace(s, d=s.n, dd=s.n, yd=s.y) for s in (everyone, exposed)]
    found, mean = complier_ratio_effect(*counted), complier_effect(everyone, exposed)
    np.testing.assert_allclose(found.effect_rel, mean.effect_rel)
    np.testing.assert_allclose(found.effect_rel_ci_low, mean.effect_rel_ci_low, atol=0.02)


@pytest.mark.parametrize(("rate", "status"), [(0.05, "insufficient_data"), (0.5, "ok")])
def test_a_treatment_that_reached_few_users_has_no_answer(rate, status):
    found = complier_ratio_effect(*world(4, rate=rate, experiments=1))
    assert found.status[0, 0] == status
    assert (FEW_EXPOSED in found.reason[0, 0]) is (status != "ok")


def test_exposed_users_of_whom_one_has_nearly_all_of_the_denominator_give_no_answer():
    everyone, exposed = world(5, experiments=1)
    one = 1e4
    large = [SufficientStatistics(**{**vars(s), "d": s.d.copy(), "dd": s.dd.copy()}) for s in (everyone, exposed)]
    for sums in large:
        sums.d[1] += one
        sums.dd[1] += one**2
    assert FEW_DENOMINATORS in complier_ratio_effect(*large).reason[0, 0]


def test_it_has_an_anytime_interval_around_the_fixed_one():
    found = per_exposed(with_anytime(complier_ratio_effect(*world(6, experiments=1)), 1200))
    assert found.anytime_ci_low[0, 0] < found.effect_abs_ci_low[0, 0] < found.effect_abs[0, 0]
    assert np.isnan(found.effect_rel).all()
