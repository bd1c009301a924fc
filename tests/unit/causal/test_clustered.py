"""Difference-in-differences whose errors are between clusters: few clusters, uneven ones, and dates that hold few."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.causal.test_did import group, stack

from exp_platform.calibration.clusters import rollouts
from exp_platform.causal.cluster_errors import cluster_spread, freedom
from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import did_effect
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(9)


def clusters(*sizes: int, spread: float = 1.0, lift: float = 0.0) -> SufficientStatistics:
    """One arm whose clusters share a shock to their change; lead (cluster,)."""
    return stack(
        *(group(10, shock, lift, n) for shock, n in zip(RNG.normal(0, spread, len(sizes)), sizes, strict=True))
    )


def apart(control: SufficientStatistics, treatment: SufficientStatistics) -> SufficientStatistics:
    """Both arms, no cluster in common."""
    c, t = len(control.n), len(treatment.n)
    nobody = SufficientStatistics.zeros(m=2)
    return stack(
        stack(*(control[i] for i in range(c)), *[nobody] * t), stack(*[nobody] * c, *(treatment[i] for i in range(t)))
    )


def test_shared_shocks_widen_the_interval_and_cost_degrees_of_freedom() -> None:
    arms = stack(clusters(*[20] * 40), clusters(*[20] * 40, lift=0.5))
    clustered, by_unit = clustered_did_effect(arms), did_effect(arms.sum(axis=1))
    assert clustered.effect_abs[0] == pytest.approx(by_unit.effect_abs[0])
    assert clustered.se_abs[0] > 2 * by_unit.se_abs[0]
    assert clustered.df[0] == pytest.approx(39)
    assert clustered.reason[0] == ""


def test_few_clusters_are_named_and_fewer_than_five_in_an_arm_have_no_answer() -> None:
    """Beside 18 control stores 2 treated ones called 16% of experiments without an effect significant, 3 called 10%."""
    for count in (1, 2, 3, 4):
        effect = clustered_did_effect(apart(clusters(*[30] * 40), clusters(*[300] * count)))
        assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "too_few_clusters")
    five = clustered_did_effect(apart(clusters(*[30] * 40), clusters(*[300] * 5)))
    assert (five.status[0], five.reason[0]) == ("ok", "few_clusters")


def test_clusters_in_one_arm_each_bring_their_own_degrees_of_freedom() -> None:
    """Forty control stores know nothing of how five treated ones differ."""
    five = clustered_did_effect(apart(clusters(*[30] * 40), clusters(*[60] * 5)))
    assert five.df[0] < 15
    even = clustered_did_effect(apart(clusters(*[30] * 20), clusters(*[30] * 20)))
    assert 30 < even.df[0] <= 38


def test_a_cluster_with_most_of_an_arms_units_costs_degrees_of_freedom_and_widens_the_interval() -> None:
    """It makes up the mean that it is compared with, so that its shock is hardly seen."""
    even, uneven = (
        cluster_spread(np.array([[n]], dtype=float), np.ones((1, 1))) for n in ([60] * 10, [600] + [20] * 9)
    )
    assert even.factor[0] == pytest.approx(10 / 9) and even.df[0] == pytest.approx(9)
    assert uneven.factor[0] > 5 and uneven.df[0] < 2


def test_the_factor_and_the_degrees_of_freedom_are_those_of_the_whole_covariance() -> None:
    """Written out with matrices of clusters, where the engine has matrices of dates; one cluster lies in both arms."""
    rng = np.random.default_rng(2)
    units = rng.integers(0, 30, (2, 4, 7)).astype(float) * (rng.random((2, 4, 7)) < 0.8)
    units[0, :, :3] = units[1, :, 4:] = 0.0
    weight = np.array([[0.1, 0.2, 0.3, 0.4]])
    covariances, spreads = [], []
    for n in units:
        of_date = n / n.sum(axis=1, keepdims=True)
        of_all = weight[0][:, None] * of_date
        deviations = np.diag(of_all.sum(axis=0)) - of_all.T @ of_date
        covariances.append(deviations @ deviations.T)
        spreads.append(cluster_spread(n[None], weight))
        trace = np.trace(covariances[-1])
        assert spreads[-1].factor[0] == pytest.approx((of_all.sum(axis=0) ** 2).sum() / trace)
        assert spreads[-1].df[0] == pytest.approx(trace**2 / np.trace(covariances[-1] @ covariances[-1]))
    total = sum(covariances)
    variances = [np.array([np.trace(cov)]) for cov in covariances]
    assert freedom(variances, spreads)[0] == pytest.approx(np.trace(total) ** 2 / np.trace(total @ total))


@pytest.mark.parametrize("dates", [1, 3])
@pytest.mark.parametrize("spread", [0.0, 1.0], ids=["of one size", "of uneven size"])
@pytest.mark.parametrize("of_arm", [(45, 5), (40, 10), (20, 20)])
def test_without_an_effect_few_or_uneven_clusters_are_seldom_significant(
    of_arm: tuple[int, int], spread: float, dates: int
) -> None:
    """With uneven stores, or stores of which a date has two, G/(G − 1) called 10 to 50% significant."""
    effect = clustered_did_effect(rollouts(RNG, of_arm, spread, dates, rounds=1500), by_cohort_date=True, min_units=2)
    if (of_arm, dates) == ((45, 5), 3):  # two, two and one treated store: two comparisons
        assert all(reason.startswith("too_few_clusters") for reason in effect.reason[0])
        return
    assert effect.ok.mean() > 0.97
    assert (effect.p_value[effect.ok] < 0.05).mean() < 0.06 + 0.018


def test_one_treated_cluster_on_each_date_is_insufficient_and_on_some_dates_is_named() -> None:
    def on_dates(*stores: list[int]) -> SufficientStatistics:
        nobody = SufficientStatistics.zeros(m=2)
        return stack(*(stack(*(group(10, 0, 0, 60) if i in here else nobody for i in range(60))) for here in stores))

    control = on_dates(list(range(40)), list(range(40)))
    effect = clustered_did_effect(stack(control, on_dates([50], [51])), by_cohort_date=True, min_units=2)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "too_few_clusters")
    effect = clustered_did_effect(stack(control, on_dates(list(range(45, 55)), [51])), by_cohort_date=True)
    assert (effect.status[0], effect.reason[0]) == ("ok", "cohort_dates_with_one_cluster")
