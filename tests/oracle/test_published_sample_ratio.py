"""Sample ratio cases that other projects publish in their own tests, named as project + test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exp_platform.stats.srm import sequential_p, srm_test
from exp_platform.status import CheckStatus


@pytest.mark.parametrize(
    ("users", "weights", "p_value"),
    [
        ([1000, 1200], [0.5, 0.5], 0.000020079),
        ([135, 115], [0.5, 0.5], 0.205903211),
        ([310, 98], [0.75, 0.25], 0.647434186),
        ([1000, 900, 800], [1, 0, 0], 1.0),
        ([1000, 1200, 900], [0.5, 0.5, 0], 0.000020079),
        ([0, 0, 0], [0.34, 0.33, 0.33], 1.0),
        ([0, 10, 10], [0.34, 0.33, 0.33], 0.005790624),
        ([500, 500, 600], [0.34, 0.33, 0.33], 0.000592638),
        ([500, 500], [0.5, 0.5], 1.0),
    ],
)
def test_growthbook_check_srm(users: list[int], weights: list[float], p_value: float) -> None:
    """GrowthBook back-end: "calculates SRM correctly"; nine decimals."""
    assert srm_test([users], weights).p_value == pytest.approx(p_value, abs=0.51e-9)


@pytest.mark.parametrize(
    ("days", "low"),
    [
        ([[500, 500]], False),
        ([[100, 900]], True),
        ([[250, 250], [250, 250]], False),
        ([[50, 450], [50, 450]], True),
        ([[0, 0]], False),
    ],
)
def test_growthbook_sequential_srm(days: list[list[int]], low: bool) -> None:
    """GrowthBook gbstats: TestSequentialPValues and TestComputeSrmPValue, and our gate's verdict on the same."""
    result = srm_test(days, [0.5, 0.5])
    assert (result.sequential_p < 0.05) is low
    assert result.status is (CheckStatus.FAIL if low else CheckStatus.OK)


def test_tea_tasting_sample_ratio_without_continuity_correction() -> None:
    """tea-tasting: test_sample_ratio_analyze_norm_no_corr, 53 against 47."""
    assert srm_test([[53, 47]], [0.5, 0.5]).p_value == pytest.approx(0.5485062355001472, rel=1e-9)


def test_optimizely_sequential_posteriors_of_counts_by_day() -> None:
    """optimizely/ssrm: test_sequential_posteriors, marginal likelihoods of four days under Dirichlet(1, 1, 1).

    Theirs lets the prior lie elsewhere than the null; ours is centred on it, so the null here is a third each.
    """
    days, third = np.array([[20, 17, 9], [18, 21, 8], [4, 6, 4], [18, 19, 11]]), np.full(3, 1 / 3)
    theirs = np.array([-7.028201432058012, -11.947847738358888, -15.471401950257842, -19.96484521090386])
    null = np.cumsum([stats.multinomial.logpmf(day, day.sum(), third) for day in days])
    expected = np.minimum.accumulate(np.minimum(np.exp(null - theirs), 1.0))
    assert sequential_p(days.astype(float), third, concentration=3.0) == pytest.approx(expected, rel=1e-9)


def test_lindon_and_malek_stop_at_the_same_unit_with_the_same_p() -> None:
    """savvi: examples/Multinomial, the first of Lindon and Malek's applications, with their concentration of 100.

    A thousand units one by one with shares (0.1, 0.3, 0.6), tested against (0.1, 0.4, 0.5): the sequential p first
    falls below 0.05 at unit 402.
    """
    units = np.random.RandomState(1).multinomial(1, [0.1, 0.3, 0.6], size=1000)
    running = sequential_p(units.astype(float), np.array([0.1, 0.4, 0.5]))
    first = int(np.flatnonzero(running <= 0.05)[0])
    assert first + 1 == 402
    assert running[first] == pytest.approx(0.04845591105969517, rel=1e-9)
