"""Pre-trend deltas, slope test and joint test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multivariate import test_mvmean_2indep as hotelling

from exp_platform.calibration.clusters import panels
from exp_platform.causal.pretrends import PanelMoments, pretrend_deltas, pretrend_tests

RNG = np.random.default_rng(10)
DAYS = np.arange(-7, 0)


def units(n: int = 400, days: int = 7) -> np.ndarray:
    """Daily values of units whose days are correlated."""
    return RNG.normal(0, 1, (n, 1)) + RNG.normal(3, 1, (n, days))


def panel(*arms: np.ndarray) -> PanelMoments:
    """From unit × day arrays, one for each arm."""
    days = arms[0].shape[1]
    return PanelMoments(
        relative_days=np.arange(-days, 0),
        n=np.array([float(len(a)) for a in arms]),
        sums=np.stack([a.sum(axis=0) for a in arms]),
        products=np.stack([a.T @ a for a in arms]),
    )


def test_deltas_and_their_intervals_are_welch_on_each_day() -> None:
    control, treatment = units(300), units(450)
    found = pretrend_deltas(panel(control, treatment))
    theirs = stats.ttest_ind(treatment, control, equal_var=False).confidence_interval(0.95)
    assert found.delta[0] == pytest.approx(treatment.mean(axis=0) - control.mean(axis=0))
    assert found.ci_low[0] == pytest.approx(theirs.low)
    assert found.ci_high[0] == pytest.approx(theirs.high)


def test_the_slope_test_is_welch_on_the_slopes_of_units() -> None:
    control, treatment = units(300), units(450)
    slopes = [np.polyfit(DAYS, arm.T, 1)[0] for arm in (control, treatment)]
    theirs = stats.ttest_ind(slopes[1], slopes[0], equal_var=False)
    found = pretrend_tests(panel(control, treatment))
    assert found.slope[0] == pytest.approx(slopes[1].mean() - slopes[0].mean())
    assert [found.statistic[0, 0], found.df[0, 0], found.p_value[0, 0]] == pytest.approx(
        [theirs.statistic, theirs.df, theirs.pvalue]
    )


def test_the_joint_test_is_hotellings_on_the_changes_from_day_to_day() -> None:
    """With equal arms pooled and unpooled covariance are one, so statsmodels' T² is ours; F differs by its df."""
    control, treatment = units(400), units(400)
    theirs = hotelling(np.diff(treatment), np.diff(control))
    found = pretrend_tests(panel(control, treatment))
    df, denominator = found.df[0, 1], found.df_denominator[0, 1]
    nu = denominator + df - 1
    assert found.statistic[0, 1] * nu * df / denominator == pytest.approx(theirs.t2)
    assert found.p_value[0, 1] == pytest.approx(theirs.pvalue, abs=1e-3)
    assert denominator == pytest.approx(theirs.df[1], rel=0.02)


def test_a_constant_gap_passes_both_tests() -> None:
    found = pretrend_tests(panel(units(), units() + 5))
    assert found.verdict[0].tolist() == ["passed", "passed"]


def test_a_drift_fails_both_tests() -> None:
    found = pretrend_tests(panel(units(), units() + 0.15 * DAYS))
    assert found.verdict[0].tolist() == ["failed", "failed"]


def test_a_bump_on_one_day_in_the_middle_fails_the_joint_test_alone() -> None:
    control = units()
    treatment = control + RNG.normal(0, 0.3, control.shape)
    treatment[:, 3] += 1.0
    found = pretrend_tests(panel(control, treatment))
    assert found.verdict[0].tolist() == ["passed", "failed"]


def test_p_values_are_adjusted_over_the_two_tests() -> None:
    found = pretrend_tests(panel(units(), units()))
    small, large = np.sort(found.p_value[0])
    assert np.sort(found.p_value_adjusted[0]) == pytest.approx(
        sorted([min(1, 2 * small), max(min(1, 2 * small), large)])
    )


def test_several_treatments_are_tested_against_the_same_control() -> None:
    found = pretrend_tests(panel(units(), units(), units() + 0.2 * DAYS))
    assert found.verdict.tolist() == [["passed", "passed"], ["failed", "failed"]]


def test_within_cohort_dates_a_change_of_mix_is_no_trend() -> None:
    """The late date has a steeper day profile and most treated units: pooled it looks like a pre-trend."""
    steep = 0.4 * DAYS
    dates = [[units(900), units(100) + steep], [units(100), units(900) + steep]]
    split = PanelMoments(
        DAYS,
        np.array([[len(d) for d in arm] for arm in dates], dtype=float),
        np.array([[d.sum(axis=0) for d in arm] for arm in dates]),
        np.array([[d.T @ d for d in arm] for arm in dates]),
    )
    assert pretrend_tests(split, by_cohort_date=True).verdict[0].tolist() == ["passed", "passed"]
    pooled = pretrend_tests(panel(*(np.concatenate(arm) for arm in dates)))
    assert pooled.verdict[0].tolist() == ["failed", "failed"]


def by_date(*sizes: tuple[int, int]) -> PanelMoments:
    """Parallel arms with (control, treatment) units on each date."""
    cells = [[units(pair[arm]) for pair in sizes] for arm in (0, 1)]
    return PanelMoments(
        DAYS,
        np.array([[float(len(c)) for c in arm] for arm in cells]),
        np.array([[c.sum(axis=0) for c in arm] for arm in cells]),
        np.array([[c.T @ c for c in arm] for arm in cells]),
    )


def test_a_handful_of_control_units_on_the_heaviest_date_is_insufficient_and_not_a_failure() -> None:
    """Five units cannot show how seven days vary together, and 300 treated units give them most of the weight: the
    joint test failed half of such parallel panels."""
    found = pretrend_tests(by_date((5, 300), (100, 40)), by_cohort_date=True)
    assert found.verdict[0].tolist() == ["insufficient_data"] * 2
    assert set(found.reason[0]) == {"too_few_units"}
    enough = pretrend_tests(by_date((60, 300), (100, 40)), by_cohort_date=True)
    assert "insufficient_data" not in enough.verdict[0]


def test_many_small_dates_of_one_size_are_as_many_units_as_they_hold() -> None:
    assert "insufficient_data" not in pretrend_tests(by_date(*[(3, 30)] * 20), by_cohort_date=True).verdict[0]
    few = pretrend_tests(by_date(*[(3, 30)] * 11), by_cohort_date=True)  # 33 control units for 7 days
    assert set(few.reason[0]) == {"too_few_units"}


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        (units(34), units(400), "too_few_units"),
        (units(400, 1), units(400, 1), "single_day"),
        (np.hstack([np.zeros((400, 6)), units(400, 1)]), np.hstack([np.zeros((400, 6)), units(400, 1)]), "single_day"),
        (np.hstack([units(), np.zeros((400, 1))]), np.hstack([units(), np.zeros((400, 1))]), "singular_covariance"),
        (np.repeat(units(400, 1), 3, axis=1), np.repeat(units(400, 1), 3, axis=1), "singular_covariance"),
        (np.zeros((0, 7)), units(), "too_few_units"),
        (np.zeros((400, 7)), np.zeros((400, 7)), "singular_covariance"),
    ],
    ids=[
        "34 units for 7 days",
        "a single day",
        "values on one of the days",
        "a day on which nobody did anything",
        "days that repeat one another",
        "empty control",
        "no events at all",
    ],
)
def test_a_panel_that_cannot_be_tested_is_insufficient_and_says_why(
    control: np.ndarray, treatment: np.ndarray, reason: str
) -> None:
    found = pretrend_tests(panel(control, treatment))
    assert found.verdict[0].tolist() == ["insufficient_data"] * 2
    assert set(found.reason[0]) == {reason}
    assert np.isnan(found.p_value_adjusted).all()


def test_five_units_for_each_day_are_enough() -> None:
    assert "insufficient_data" not in pretrend_tests(panel(units(35), units(35))).verdict[0]


@pytest.mark.parametrize("of_arm", [(5, 5), (20, 20), (50, 50), (45, 5)])
@pytest.mark.parametrize("spread", [0.0, 0.5], ids=["of one size", "of uneven size"])
def test_shocks_of_clusters_are_no_trend(of_arm: tuple[int, int], spread: float) -> None:
    """Between units such parallel worlds failed in 95, 40 and 15% with 5, 20 and 50 clusters an arm."""
    found = panels(np.random.default_rng(1), of_arm, spread, 0.0, rounds=1000)
    tests = pretrend_tests(found)
    failed = (tests.verdict == "failed").any(axis=-1)
    assert failed.mean() <= 0.05 + 0.023
    assert (tests.verdict[..., 0] != "insufficient_data").all()
    by_unit = pretrend_tests(PanelMoments(found.relative_days, found.n, found.sums, found.products))
    assert (by_unit.verdict == "failed").any(axis=-1).mean() > 0.1


def test_the_joint_test_needs_more_clusters_than_days_and_the_slope_stands_alone_without_it() -> None:
    rng = np.random.default_rng(2)
    few, enough = (pretrend_tests(panels(rng, (g, g), 0.0, 0.0, rounds=1)) for g in (14, 15))
    assert few.verdict[0, 0].tolist() == ["passed", "insufficient_data"]
    assert set(few.reason[0, 0]) == {"fewer_clusters_than_days"}
    assert few.p_value_adjusted[0, 0, 0] == few.p_value[0, 0, 0]
    assert "insufficient_data" not in enough.verdict[0, 0] and set(enough.reason[0, 0]) == {""}


def test_fewer_than_five_clusters_in_an_arm_show_no_trend_and_no_parallel() -> None:
    tests = pretrend_tests(panels(np.random.default_rng(3), (40, 4), 0.0, 0.0, rounds=1))
    assert tests.verdict[0, 0].tolist() == ["insufficient_data"] * 2
    assert set(tests.reason[0, 0]) == {"too_few_clusters"}


def test_a_drift_of_the_treated_clusters_is_found() -> None:
    tests = pretrend_tests(panels(np.random.default_rng(4), (20, 20), 0.0, 0.03, rounds=200))
    assert (tests.verdict[..., 0] == "failed").mean() > 0.9


def test_clusters_of_single_units_give_the_deltas_and_the_slope_of_units() -> None:
    control, treatment = units(40), units(60)
    alone = panel(control, treatment)
    n = np.stack([np.repeat([1.0, 0.0], [40, 60]), np.repeat([0.0, 1.0], [40, 60])])
    sums = np.stack([np.vstack([control, 0 * treatment]), np.vstack([0 * control, treatment])])
    both = PanelMoments(DAYS, alone.n, alone.sums, alone.products, n, sums)
    ours, theirs = pretrend_tests(both), pretrend_tests(alone)
    for name in ("statistic", "df", "df_denominator", "p_value"):
        assert getattr(ours, name)[0] == pytest.approx(getattr(theirs, name)[0], nan_ok=True)
    for name, column in vars(pretrend_deltas(both)).items():
        assert column == pytest.approx(getattr(pretrend_deltas(alone), name)), name


def test_clusters_in_both_arms_share_what_happens_to_them() -> None:
    """A shock that hits both arms of a store is no difference between the arms."""
    rng = np.random.default_rng(5)
    shock = rng.normal(0, 0.5, (30, 7))
    sums = np.stack([40 * (shock + rng.normal(3, 0.1, (30, 7))) for _ in range(2)])
    n = np.full((2, 30), 40.0)
    both = PanelMoments(DAYS, n.sum(axis=1), sums.sum(axis=1), np.stack([s.T @ s for s in sums]), n, sums)
    tests, deltas = pretrend_tests(both), pretrend_deltas(both)
    assert deltas.df[0] == pytest.approx(29)
    assert (deltas.se[0] < 0.05).all()
    assert tests.df[0, 0] == pytest.approx(29) and "insufficient_data" not in tests.verdict[0]
