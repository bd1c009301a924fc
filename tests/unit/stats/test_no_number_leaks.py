"""Whatever the data, an answer is a finite number or null with a status: no NaN, no infinity, no crash, no warning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import did_effect
from exp_platform.causal.pretrends import PanelMoments, pretrend_deltas, pretrend_tests
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.quantile import Histogram, quantile_effect
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics
from exp_platform.status import GuardrailStatus, ResultStatus

VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.1, math.nan, 1e9, -1e9, 1e-9, 7.0]),
    st.sampled_from([1e300, -1e300, 1e150, 1e-150, 1e-300]),
    st.floats(-1e6, 1e6, allow_subnormal=False),
)
ARM = st.lists(VALUES, max_size=12)
ARMS = st.lists(ARM, min_size=2, max_size=4)
ESTIMATORS: list[Callable[..., Effect]] = [
    mean_effect,
    ratio_effect,
    cuped_effect,
    lambda arms, **options: mean_effect(arms, binary=True, **options),
    lambda arms, **options: cuped_effect(arms, ratio=True, **options),
    lambda arms, **options: did_effect(two(arms), rollout=True, **options),
    lambda arms, **options: did_effect(two(arms)[:, None], by_cohort_date=True, **options),
    lambda arms, **options: clustered_did_effect(two(arms)[:, None], **options),
    lambda arms, **options: did_effect(arms, ratio=True, **options),
    lambda arms, **options: did_effect(two_dates(arms), ratio=True, by_cohort_date=True, **options),
    lambda arms, **options: clustered_did_effect(two_dates(arms), ratio=True, **options),
]


def record(values: list[float]) -> SufficientStatistics:
    """Covariates, denominator and pre-period are made from neighbouring values, so that they degenerate too."""
    y = np.array(values, dtype=float)
    filled = np.nan_to_num(y)
    shifted = np.roll(filled, 1)
    v = np.stack([filled, np.maximum(shifted, 0), shifted, np.maximum(filled, 0)], axis=1)
    with np.errstate(all="ignore"):  # sums of such numbers may well be infinite; the estimators must cope
        return SufficientStatistics.from_units(y, x=np.stack([shifted, filled], axis=1), d=np.abs(shifted), v=v)


def two(arms: SufficientStatistics) -> SufficientStatistics:
    """Difference-in-differences of a mean: (y, pre_y)."""
    return replace(arms, did_v=arms.did_v[..., [0, 2]], did_vv=arms.did_vv[..., [0, 2], :][..., [0, 2]])


def two_dates(arms: SufficientStatistics) -> SufficientStatistics:
    """The arms on one date, and in reverse order on another."""
    return SufficientStatistics.stack(
        [SufficientStatistics.stack([a, b]) for a, b in zip(arms, arms[::-1], strict=True)]
    )


def assert_clean(effect: Effect) -> None:
    columns = effect.as_columns()
    for name, column in columns.items():
        for value in column:
            assert value is None or isinstance(value, str) or math.isfinite(value), name
    for i, status in enumerate(columns["status"]):
        assert status in set(ResultStatus)
        answered = columns["effect_abs"][i] is not None and columns["p_value"][i] is not None
        assert answered == (status == "ok")
        assert status == "ok" or columns["reason"][i]
        if columns["effect_rel"][i] is None and status == "ok":
            assert "control_mean_near_zero" in columns["reason"][i]
        for name in ("p_value", "p_value_rel", "anytime_p_value"):
            assert columns[name][i] is None or 0 <= columns[name][i] <= 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(arms=ARMS, min_units=st.integers(0, 4))
def test_every_estimator_answers_with_a_number_or_a_status(
    estimator: Callable[..., Effect], arms: list[list[float]], min_units: int
) -> None:
    effect = with_anytime(estimator(SufficientStatistics.stack([record(a) for a in arms]), min_units=min_units), 100)
    assert_clean(effect)
    statuses = assess_guardrails(effect, 0.05, True).status
    assert {str(s) for s in statuses.ravel()} <= set(GuardrailStatus)


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_covariates_whose_squares_add_up_to_infinity_are_left_out(ratio: bool) -> None:
    """Each square is a number, a sum of some is none: their correlation was infinity over infinity."""
    arms = [[-1e9, 0.0, 0.0], [1e154, -1e150]]
    assert_clean(cuped_effect(SufficientStatistics.stack([record(a) for a in arms]), ratio=ratio, min_units=2))


def test_a_variance_that_grows_beyond_all_numbers_is_no_reduction() -> None:
    arms = [[math.nan, 1e150, 1e150], [1e150, 1e-150], [1e150], [1e-150, 1e-150, 1e-160, 0.0]]
    assert_clean(cuped_effect(SufficientStatistics.stack([record(a) for a in arms]), min_units=0))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(arms=ARMS, q=st.sampled_from([0.01, 0.5, 0.9]))
def test_quantiles_answer_with_a_number_or_a_status(arms: list[list[float]], q: float) -> None:
    histograms = []
    for arm in arms:
        known = np.array([v for v in arm if not math.isnan(v)], dtype=float)
        histograms.append(Histogram.from_values(known, np.arange(len(known)) // 2))
    assert_clean(with_anytime(quantile_effect(histograms, q, min_units=2), 100))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    days=st.integers(1, 4),
    units=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=60),
    split=st.integers(0, 60),
)
def test_pre_trends_answer_with_a_number_or_a_verdict(days: int, units: list[list[int]], split: int) -> None:
    table = np.array(units, dtype=float).reshape(-1, 4)[:, :days]
    arms = [table[:split], table[split:]]
    panel = PanelMoments(
        np.arange(-days, 0),
        np.array([float(len(a)) for a in arms]),
        np.stack([a.sum(axis=0) for a in arms]),
        np.stack([a.T @ a for a in arms]),
    )
    tests, deltas = pretrend_tests(panel), pretrend_deltas(panel)
    answered = np.isfinite(tests.p_value_adjusted)
    assert ((tests.verdict != "insufficient_data") == answered).all()
    assert (np.isfinite(tests.statistic) == answered).all()
    for column in (tests.p_value, tests.df, deltas.delta, deltas.ci_low, deltas.ci_high):
        assert not np.isinf(column).any()
