"""Difference-in-differences against statsmodels: least squares on unit changes with (cluster-)robust errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import statsmodels.api as sm

from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import did_effect
from exp_platform.stats.sufficient import SufficientStatistics

TOLERANCE = 1e-9
RNG = np.random.default_rng(7)
N, DATES = 900, 3
DATE = RNG.integers(0, DATES, N)
TREATED = (RNG.random(N) < 0.3 + 0.15 * DATE).astype(int)
PRE = RNG.gamma(2.0, 2.0, N)
POST = PRE + 0.5 * DATE + RNG.normal(0.4 * TREATED, 1.0)
CHANGE = POST - PRE


def sums(keep: np.ndarray) -> SufficientStatistics:
    return SufficientStatistics.from_units(POST[keep], v=np.stack([POST, PRE], axis=1)[keep])


def by_arm(condition: np.ndarray) -> SufficientStatistics:
    return SufficientStatistics.stack([sums(condition & (arm == TREATED)) for arm in (0, 1)])


def by_arm_and(labels: np.ndarray, count: int, condition: np.ndarray | None = None) -> SufficientStatistics:
    """Lead (arm, label)."""
    condition = np.ones(N, dtype=bool) if condition is None else condition
    return SufficientStatistics.stack(
        [
            SufficientStatistics.stack([sums(condition & (arm == TREATED) & (labels == i)) for i in range(count)])
            for arm in (0, 1)
        ]
    )


def ols(design: np.ndarray) -> sm.regression.linear_model.RegressionResults:
    return sm.OLS(CHANGE, design)


def test_without_clusters_it_is_least_squares_on_changes_with_hc2_errors() -> None:
    """HC2 is the Welch variance: each arm's sample variance with n − 1."""
    fit = ols(sm.add_constant(TREATED)).fit(cov_type="HC2")
    effect = did_effect(by_arm(np.ones(N, dtype=bool)))
    assert [effect.effect_abs[0], effect.se_abs[0]] == pytest.approx([fit.params[1], fit.bse[1]], rel=TOLERANCE)


def saturated() -> tuple[np.ndarray, np.ndarray]:
    """A column per date × arm, and the contrast that weights each date's effect by its treated units."""
    design = np.stack([(g == DATE) & (arm == TREATED) for g in range(DATES) for arm in (0, 1)], axis=1).astype(float)
    share = np.array([((g == DATE) & (TREATED == 1)).sum() for g in range(DATES)]) / TREATED.sum()
    return design, np.stack([-share, share], axis=1).ravel()


def test_a_rollout_is_the_saturated_regression_weighted_by_treated_units() -> None:
    design, contrast = saturated()
    fit = ols(design).fit(cov_type="HC2")
    effect = did_effect(by_arm_and(DATE, DATES), by_cohort_date=True, rollout=True)
    se = np.sqrt(contrast @ fit.cov_params() @ contrast)
    assert [effect.effect_abs[0], effect.se_abs[0]] == pytest.approx([contrast @ fit.params, se], rel=TOLERANCE)
    assert effect.reason[0] == "unit_level_errors"


@dataclass(frozen=True)
class Stores:
    """Changes of units in stores of one size, each in one arm or in both."""

    store: np.ndarray
    date: np.ndarray
    treated: np.ndarray
    pre: np.ndarray
    post: np.ndarray

    @classmethod
    def draw(cls, cells: list[tuple[int, int]], dates: int = 1, units: int = 10) -> Stores:
        """`cells` are pairs of a store and an arm; each holds as many units on each date."""
        store, treated, date = np.repeat([(s, t, d) for s, t in cells for d in range(dates)], units, axis=0).T
        shock = RNG.normal(0, 0.7, store.max() + 1)[store]
        pre = RNG.gamma(2.0, 2.0, len(store))
        return cls(store, date, treated, pre, pre + shock + 0.5 * date + RNG.normal(0.4 * treated, 1.0))

    def arms(self) -> SufficientStatistics:
        """Lead (arm, date, store)."""

        def of(condition: np.ndarray) -> SufficientStatistics:
            return SufficientStatistics.from_units(
                self.post[condition], v=np.stack([self.post, self.pre], axis=1)[condition]
            )

        stack = SufficientStatistics.stack
        return stack(
            [
                stack(
                    [
                        stack([of((self.treated == a) & (self.date == d) & (self.store == s)) for s in self.stores])
                        for d in sorted(set(self.date))
                    ]
                )
                for a in (0, 1)
            ]
        )

    @property
    def stores(self) -> list[int]:
        return sorted(set(self.store.tolist()))

    def variance(self, design: np.ndarray, contrast: np.ndarray, rows: np.ndarray) -> float:
        """statsmodels' clustered variance without its (N − 1)/(N − K): with G/(G − 1) alone, as ours."""
        fit = sm.OLS((self.post - self.pre)[rows], design[rows]).fit(
            cov_type="cluster", cov_kwds={"groups": self.store[rows]}
        )
        n, k = design[rows].shape
        return float(contrast @ fit.cov_params() @ contrast / ((n - 1) / (n - k)))


def test_with_stores_of_one_size_in_both_arms_the_errors_are_those_of_one_clustered_regression() -> None:
    data = Stores.draw([(s, t) for s in range(30) for t in (0, 1)])
    effect = clustered_did_effect(data.arms(), by_cohort_date=True)
    variance = data.variance(sm.add_constant(data.treated), np.array([0.0, 1.0]), data.store >= 0)
    assert effect.se_abs[0] == pytest.approx(np.sqrt(variance), rel=TOLERANCE)
    assert effect.df[0] == pytest.approx(29, rel=TOLERANCE)


@pytest.mark.parametrize("dates", [1, 3])
def test_with_stores_of_one_size_in_one_arm_each_arm_is_a_clustered_regression_of_its_own(dates: int) -> None:
    """Each arm has its own G/(G − 1) and its own G − 1 degrees of freedom."""
    data = Stores.draw([(s, int(s >= 20)) for s in range(32)], dates)
    effect = clustered_did_effect(data.arms(), by_cohort_date=True)
    design = np.stack([data.date == d for d in range(dates)], axis=1).astype(float)
    even = np.full(dates, 1 / dates)
    control, treated = (data.variance(design, even, data.treated == arm) for arm in (0, 1))
    assert effect.se_abs[0] == pytest.approx(np.sqrt(control + treated), rel=TOLERANCE)
    welch = (control + treated) ** 2 / (control**2 / 19 + treated**2 / 11)
    assert effect.df[0] == pytest.approx(welch, rel=TOLERANCE)


def test_the_relative_effect_has_the_error_of_the_delta_method_on_unit_influences() -> None:
    """Variance of effect / counterfactual from each unit's influence, written out apart from the engine."""
    effect = did_effect(by_arm(np.ones(N, dtype=bool)))
    arms = [TREATED == 0, TREATED == 1]
    delta = CHANGE[arms[1]].mean() - CHANGE[arms[0]].mean()
    base = POST[arms[1]].mean() - delta
    treated = (CHANGE / base - delta / base**2 * PRE)[arms[1]]
    control = ((-1 / base - delta / base**2) * CHANGE)[arms[0]]
    variance = sum(part.var(ddof=1) / len(part) for part in (treated, control))
    assert effect.effect_rel[0] == pytest.approx(delta / base, rel=TOLERANCE)
    assert effect.se_rel[0] == pytest.approx(np.sqrt(variance), rel=TOLERANCE)
