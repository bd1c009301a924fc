"""Difference-in-differences against statsmodels: least squares on unit changes with (cluster-)robust errors."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import did_effect
from exp_platform.stats.sufficient import SufficientStatistics

TOLERANCE = 1e-9
RNG = np.random.default_rng(7)
N, CLUSTERS, DATES = 900, 45, 3
CLUSTER = RNG.integers(0, CLUSTERS, N)
DATE = RNG.integers(0, DATES, N)
TREATED = (RNG.random(N) < 0.3 + 0.15 * DATE).astype(int)
PRE = RNG.gamma(2.0, 2.0, N)
POST = PRE + 0.5 * DATE + RNG.normal(0, 0.7, CLUSTERS)[CLUSTER] + RNG.normal(0.4 * TREATED, 1.0)
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


def test_with_clusters_that_span_the_arms_the_errors_agree_but_for_a_factor_near_one() -> None:
    """statsmodels multiplies the variance by (N − 1)/(N − K) beside G/(G − 1); ours by G/(G − 1) alone."""
    fit = ols(sm.add_constant(TREATED)).fit(cov_type="cluster", cov_kwds={"groups": CLUSTER})
    effect = clustered_did_effect(by_arm_and(CLUSTER, CLUSTERS))
    theirs = fit.bse[1] / np.sqrt((N - 1) / (N - 2))
    assert [effect.effect_abs[0], effect.se_abs[0]] == pytest.approx([fit.params[1], theirs], rel=TOLERANCE)
    assert effect.df[0] == CLUSTERS - 1


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


def test_a_rollout_with_clusters_is_the_saturated_regression_with_clustered_errors() -> None:
    design, contrast = saturated()
    fit = ols(design).fit(cov_type="cluster", cov_kwds={"groups": CLUSTER})
    arms = SufficientStatistics.stack(
        [
            SufficientStatistics.stack(
                [
                    SufficientStatistics.stack(
                        [sums((arm == TREATED) & (g == DATE) & (c == CLUSTER)) for c in range(CLUSTERS)]
                    )
                    for g in range(DATES)
                ]
            )
            for arm in (0, 1)
        ]
    )
    effect = clustered_did_effect(arms, by_cohort_date=True)
    se = np.sqrt(contrast @ fit.cov_params() @ contrast / ((N - 1) / (N - 2 * DATES)))
    assert [effect.effect_abs[0], effect.se_abs[0]] == pytest.approx([contrast @ fit.params, se], rel=TOLERANCE)


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
