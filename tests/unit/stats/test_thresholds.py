"""A verdict turns at its number, and on neither side of it before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exp_platform.causal.did import cohort_weights
from exp_platform.stats.srm import srm_test
from exp_platform.stats.thresholds import speaks
from exp_platform.status import CheckStatus

FAIL, WARN, OK = CheckStatus.FAIL, CheckStatus.WARN, CheckStatus.OK


def counts_around(p: float, of: str) -> tuple[int, int]:
    """Users of a second arm, of 10,000 in the first: the fewest that are not below p, and the most that are."""
    more = 10_000
    while getattr(srm_test([[10_000, more]], [0.5, 0.5]), of) >= p:
        more += 1
    return more - 1, more


def test_the_sequential_sample_ratio_test_fails_below_one_in_a_thousand() -> None:
    just_right, too_many = counts_around(0.001, "sequential_p")
    assert srm_test([[10_000, just_right]], [0.5, 0.5]).status is OK
    assert srm_test([[10_000, too_many]], [0.5, 0.5]).status is FAIL


@pytest.mark.parametrize(("p", "before", "after"), [(0.01, OK, WARN), (0.001, WARN, FAIL)])
def test_the_chi_square_at_the_planned_end_doubts_and_fails_at_its_numbers(
    p: float, before: CheckStatus, after: CheckStatus
) -> None:
    just_right, too_many = counts_around(p, "p_value")
    assert srm_test([[10_000, just_right]], [0.5, 0.5]).final_status is before
    assert srm_test([[10_000, too_many]], [0.5, 0.5]).final_status is after


@pytest.mark.parametrize(("p", "status"), [(0.000999, WARN), (0.001, OK), (0.5, OK), (None, OK)])
def test_a_check_speaks_below_one_in_a_thousand_and_not_without_evidence(p: float | None, status: CheckStatus) -> None:
    assert speaks(p, WARN) is status


def test_the_p_of_the_sample_ratio_is_that_of_scipy() -> None:
    result = srm_test([[10_000, 10_100]], [0.5, 0.5])
    assert result.p_value == pytest.approx(stats.chisquare([10_000, 10_100]).pvalue)


@pytest.mark.parametrize(("units", "counts"), [(2, True), (1, False)])
def test_difference_in_differences_wants_two_units_of_each_arm_on_a_date(units: int, counts: bool) -> None:
    on_two_dates, few = np.array([[50.0, 50.0]]), np.array([[float(units), 50.0]])
    for control, treatment in ((on_two_dates, few), (few, on_two_dates)):
        weight, _ = cohort_weights(control, treatment)
        assert bool(weight[0, 0] > 0) is counts
