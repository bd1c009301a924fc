"""Everyone assigned and those exposed: what their effects say together, in worlds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.complier import FEW_EXPOSED, complier_effect, diluted_effect, gap, per_exposed
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

WORLDS = 600


def sums(y, keep) -> SufficientStatistics:
    """Sums over units (the last axis) that are kept."""
    zeros = SufficientStatistics.zeros(y.shape[:-1])
    v = np.where(keep, y, 0.0)
    fields = {"n": keep.sum(axis=-1).astype(float), "y": v.sum(-1), "yy": (v**2).sum(-1), "yyy": (v**3).sum(-1)}
    return SufficientStatistics(**{**vars(zeros), **fields})


def world(seed: int, n=(800, 800), rates=(0.6, 0.6), effect=1.0, spill=0.0, worlds: int = WORLDS):
    """Everyone and the exposed of (arm, world): exposed users have a higher level, and the effect if treated."""
    rng = np.random.default_rng(seed)
    found = []
    for arm, (size, rate) in enumerate(zip(n, rates, strict=True)):
        exposed = rng.random((worlds, size)) < rate
        y = rng.normal(5, 2, (worlds, size)) + 3 * exposed + arm * (effect * exposed + spill * ~exposed)
        found.append((sums(y, np.ones_like(exposed)), sums(y, exposed)))
    return tuple(SufficientStatistics.stack([arm[i] for arm in found]) for i in (0, 1))


def within(low: float, share: float, high: float) -> bool:
    return low <= share <= high


def test_the_complier_effect_is_the_itt_effect_over_the_exposed_share_and_covers_the_truth():
    everyone, exposed = world(1)
    found, itt = complier_effect(everyone, exposed), mean_effect(everyone)
    rate = exposed.n[1] / everyone.n[1]
    np.testing.assert_allclose(found.effect_rel[0], itt.effect_abs[0] / rate)
    np.testing.assert_allclose(found.p_value, itt.p_value)
    covers = (found.effect_rel_ci_low <= 1.0) & (found.effect_rel_ci_high >= 1.0)
    assert within(0.93, covers.mean(), 0.97)


def test_the_errors_of_the_complier_and_diluted_effects_are_their_spread_over_worlds():
    everyone, exposed = world(2, n=(1600, 400), rates=(0.4, 0.4), effect=4.0)
    complier, diluted = complier_effect(everyone, exposed), diluted_effect(everyone, exposed)
    assert complier.se_rel.mean() == pytest.approx(complier.effect_rel.std(), rel=0.08)
    assert diluted.se_abs.mean() == pytest.approx(diluted.effect_abs.std(), rel=0.08)
    assert diluted.effect_abs.mean() == pytest.approx(4.0 * 0.4, rel=0.05)


def test_the_error_of_the_relative_diluted_effect_is_its_spread_where_control_is_small():
    found = diluted_effect(*world(10, n=(400, 1600), rates=(0.5, 0.5), effect=12.0, worlds=1500))
    assert found.se_rel.mean() == pytest.approx(found.effect_rel.std(), rel=0.05)


def test_the_diluted_effect_is_sharper_than_the_itt_effect_where_few_are_exposed():
    everyone, exposed = world(3, n=(2000, 2000), rates=(0.1, 0.1))
    assert diluted_effect(everyone, exposed).se_abs.mean() < 0.7 * mean_effect(everyone).se_abs.mean()


def test_the_gap_is_within_its_error_where_the_unexposed_have_no_effect():
    for rates, n in (((0.6, 0.6), (800, 800)), ((0.25, 0.25), (1600, 400))):
        everyone, exposed = world(4, n=n, rates=rates, effect=4.0)
        found = gap(everyone, exposed)
        assert found.se.mean() == pytest.approx(found.difference.std(), rel=0.08)
        assert within(0.03, (found.p_value < 0.05).mean(), 0.07)


@pytest.mark.parametrize("keys", [{"spill": 2.0}, {"rates": (0.6, 0.4)}], ids=["the unexposed move", "unlike exposure"])
def test_the_gap_shows_an_effect_on_the_unexposed_and_a_treatment_that_changes_who_is_exposed(keys):
    found = gap(*world(5, worlds=50, **keys))
    assert (found.p_value < 0.001).mean() > 0.9


def test_with_everyone_exposed_all_four_are_one_number_and_there_is_no_gap():
    everyone, exposed = world(6, rates=(1.0, 1.0), worlds=3)
    itt = mean_effect(everyone)
    complier, diluted = complier_effect(everyone, exposed), diluted_effect(everyone, exposed)
    for column in ("effect_abs_ci_low", "effect_abs", "effect_abs_ci_high"):
        np.testing.assert_allclose(getattr(per_exposed(complier), column), getattr(itt, column))
        np.testing.assert_allclose(getattr(diluted, column), getattr(itt, column))
    assert np.isnan(gap(everyone, exposed).p_value).all()


@pytest.mark.parametrize(("rate", "status"), [(0.05, "insufficient_data"), (0.5, "ok")])
def test_a_treatment_that_reached_few_users_has_no_complier_effect(rate, status):
    found = complier_effect(*world(7, rates=(rate, rate), worlds=1))
    assert found.status[0, 0] == status
    assert (FEW_EXPOSED in found.reason[0, 0]) is (status != "ok")
    assert np.isfinite(found.effect_rel[0, 0]) == (status == "ok")


def test_exposures_that_only_the_treatment_logs_leave_the_complier_effect_alone():
    everyone, exposed = world(8, rates=(0.0, 0.5), worlds=1)
    assert complier_effect(everyone, exposed).status[0, 0] == "ok"
    assert diluted_effect(everyone, exposed).status[0, 0] == "insufficient_data"
    assert np.isnan(gap(everyone, exposed).p_value).all()


def test_a_complier_effect_has_its_anytime_interval_too_and_no_relative_column():
    looked = with_anytime(complier_effect(*world(9, worlds=1)), 2000)
    found = per_exposed(looked)
    assert found.anytime_ci_low[0, 0] < found.effect_abs_ci_low[0, 0] < found.effect_abs[0, 0]
    assert found.anytime_ci_high[0, 0] > found.effect_abs_ci_high[0, 0]
    assert np.isnan(found.effect_rel).all() and np.isnan(found.anytime_rel_ci_low).all()
