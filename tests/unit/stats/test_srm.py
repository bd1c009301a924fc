"""Sample ratio mismatch: sequential gate, fixed chi-square, localisation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exp_platform.stats.srm import localise_srm, sequential_p, srm_test
from exp_platform.status import CheckStatus


def test_the_sequential_p_is_one_over_the_bayes_factor_of_dirichlet_multinomial_counts() -> None:
    """Checked against scipy's own distributions: the evidence for Dirichlet(100 · shares) over fixed shares."""
    counts, shares = np.array([530, 470]), np.array([0.5, 0.5])
    evidence = stats.dirichlet_multinomial(100 * shares, 1000).pmf(counts) / stats.multinomial(1000, shares).pmf(counts)
    result = srm_test([counts], shares)
    assert result.sequential_p == pytest.approx(min(1.0, 1 / evidence), rel=1e-9)


def test_the_gate_takes_the_smallest_p_of_all_days_so_far() -> None:
    result = srm_test([[500, 500], [700, 500], [0, 200]], [0.5, 0.5])
    assert result.sequential_p_by_day[0] == 1.0
    assert result.sequential_p_by_day[1] < 0.001
    assert result.sequential_p == result.sequential_p_by_day[1]
    assert result.observed.tolist() == [1200.0, 1200.0]
    assert result.p_value == 1.0
    assert result.first_crossing == 1
    assert result.status is CheckStatus.FAIL


def test_the_fixed_test_is_pearsons() -> None:
    result = srm_test([[300, 500], [10, 0]], [0.3, 0.7])
    theirs = stats.chisquare([310, 500], [0.3 * 810, 0.7 * 810])
    assert [result.chi_square, result.p_value] == pytest.approx([theirs.statistic, theirs.pvalue])
    assert result.expected.tolist() == pytest.approx([243, 567])


def test_arms_with_allocation_zero_are_left_out() -> None:
    result = srm_test([[500, 12, 510]], [0.5, 0.0, 0.5])
    assert result.arms == (0, 2)
    assert result.observed.tolist() == [500.0, 510.0]
    assert result.status is CheckStatus.OK


@pytest.mark.parametrize("counts", [np.zeros((0, 2)), [[0, 0]]], ids=["no days", "a day without users"])
def test_no_users_are_no_evidence(counts: object) -> None:
    result = srm_test(counts, [0.5, 0.5])
    assert (result.sequential_p, result.p_value, result.status) == (1.0, 1.0, CheckStatus.OK)


def test_an_arm_that_got_nobody_is_seen_at_once() -> None:
    assert srm_test([[60, 0]], [0.5, 0.5]).status is CheckStatus.FAIL


def test_localisation_finds_the_day_and_only_the_day() -> None:
    days = [[500, 510], [505, 498], [700, 400], [495, 505]]
    found = localise_srm(days, [0.5, 0.5])
    assert np.flatnonzero(found.p_value_adjusted < 0.001).tolist() == [2]
    assert (found.p_value_adjusted >= found.p_value).all()


def test_a_group_without_users_has_no_p_value_and_costs_the_others_nothing() -> None:
    found = localise_srm([[0, 0], [60, 40]], [0.5, 0.5])
    assert np.isnan(found.p_value[0])
    assert found.p_value_adjusted[1] == found.p_value[1]


def test_thirty_daily_looks_raise_no_more_false_alarms_than_one() -> None:
    rng = np.random.default_rng(8)
    counts = rng.multinomial(400, [0.5, 0.5], size=(4000, 30))
    smallest = sequential_p(counts, np.array([0.5, 0.5]))[:, -1]
    fixed = stats.chi2.sf(
        ((2 * np.cumsum(counts[..., 0], axis=1) / (400 * np.arange(1, 31)) - 1) ** 2) * 400 * np.arange(1, 31), 1
    )
    assert (smallest < 0.05).mean() < 0.05
    assert (fixed.min(axis=1) < 0.05).mean() > 0.15
