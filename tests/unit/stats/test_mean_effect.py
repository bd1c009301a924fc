"""Difference of means: the textbook answer where there is one, a status and a reason where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exp_platform.stats.ab import against_control, mean_arm, mean_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(11)
CONTROL = RNG.gamma(2.0, 1.5, 400)
TREATMENT = RNG.gamma(2.0, 1.8, 350)


def arms(*values: object) -> SufficientStatistics:
    return SufficientStatistics.stack([SufficientStatistics.from_units(v) for v in values])


def constant(value: float, n: int = 200) -> np.ndarray:
    return np.full(n, value)


def assert_null_and_finite(effect: Effect) -> None:
    """Answers are None where there is none, and no column ever shows NaN or infinity."""
    for column in effect.as_columns().values():
        for value in column:
            assert value is None or isinstance(value, str) or np.isfinite(value)


def test_the_p_value_and_interval_are_those_of_welch() -> None:
    effect = mean_effect(arms(CONTROL, TREATMENT))
    theirs = stats.ttest_ind(TREATMENT, CONTROL, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    ours = [effect.p_value[0], effect.df[0], effect.effect_abs_ci_low[0], effect.effect_abs_ci_high[0]]
    assert ours == pytest.approx([theirs.pvalue, theirs.df, interval.low, interval.high], rel=1e-9)


def test_the_relative_error_has_the_terms_of_both_arms() -> None:
    effect = mean_effect(arms(CONTROL, TREATMENT))
    control, treatment = CONTROL.mean(), TREATMENT.mean()
    variance = TREATMENT.var(ddof=1) / 350 / control**2 + CONTROL.var(ddof=1) / 400 * treatment**2 / control**4
    assert effect.effect_rel[0] == pytest.approx(treatment / control - 1, rel=1e-9)
    assert effect.se_rel[0] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_a_negative_control_mean_keeps_the_sign_of_the_change() -> None:
    effect = mean_effect(arms(CONTROL - 100, TREATMENT - 100))
    assert effect.effect_abs[0] > 0
    assert effect.effect_rel[0] > 0
    assert effect.effect_rel_ci_low[0] < effect.effect_rel[0] < effect.effect_rel_ci_high[0]
    assert effect.p_value_rel[0] == effect.p_value[0]


def test_a_treatment_that_is_constantly_zero_has_lost_all_of_it_with_an_interval_around_it() -> None:
    """Its own units show no spread, and control's do: the interval is never without width."""
    effect = mean_effect(arms(CONTROL, constant(0.0)))
    assert (effect.status[0], effect.reason[0], effect.effect_rel[0]) == ("ok", "", -1.0)
    assert effect.effect_rel_ci_low[0] < -1.0 < effect.effect_rel_ci_high[0] < 0
    assert effect.effect_abs_ci_low[0] < effect.effect_abs[0] < effect.effect_abs_ci_high[0] < 0
    assert effect.p_value[0] < 1e-12
    assert_null_and_finite(with_anytime(effect))


def test_a_relative_effect_beyond_all_meaning_is_null_and_not_infinite() -> None:
    tiny = mean_effect(arms(CONTROL * 1e-150, TREATMENT * 1e9))
    assert (tiny.status[0], tiny.reason[0]) == ("ok", "control_mean_near_zero")
    assert_null_and_finite(with_anytime(tiny))


def test_small_and_large_numbers_have_the_relative_effect_of_ordinary_ones() -> None:
    """Squares of variances soon leave the range of a double: the unit of measurement must not matter."""
    plain = mean_effect(arms(CONTROL, TREATMENT))
    for scale in (1e-100, 1e100):
        scaled = mean_effect(arms(CONTROL * scale, TREATMENT * scale))
        for name in ("effect_rel", "se_rel", "p_value", "p_value_rel", "df"):
            assert getattr(scaled, name)[0] == pytest.approx(getattr(plain, name)[0]), name


def test_more_than_one_treatment_is_compared_with_the_same_control() -> None:
    effect = mean_effect(arms(CONTROL, TREATMENT, TREATMENT + 1))
    assert effect.lead == (2,)
    assert effect.effect_abs[1] == pytest.approx(effect.effect_abs[0] + 1)
    assert effect.control_n.tolist() == [400.0, 400.0]


def test_metrics_days_and_segments_are_worked_out_together_as_one_by_one() -> None:
    table = [[arms(CONTROL + i + j, TREATMENT + i + j) for j in range(3)] for i in range(2)]
    by_row = [SufficientStatistics.stack([cell[a] for cell in row]) for row in table for a in range(2)]
    both = SufficientStatistics.stack([SufficientStatistics.stack(by_row[a::2]) for a in range(2)])
    together = mean_effect(both)
    assert together.lead == (1, 2, 3)
    assert together.p_value[0, 1, 2] == mean_effect(table[1][2]).p_value[0]


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        ([], [], "arm_below_min_units"),
        ([], CONTROL, "arm_below_min_units"),
        (CONTROL, [], "arm_below_min_units"),
        (CONTROL, constant(np.nan), "arm_below_min_units"),
        (CONTROL[:99], TREATMENT, "arm_below_min_units"),
        (constant(0.0), constant(0.0), "no_variance"),
        (constant(0.1), constant(0.1), "no_variance"),
        (constant(1e6 + 0.1), constant(1e6 + 0.1), "no_variance"),
        (constant(1e200), constant(1e200) * 2, "not_finite"),
    ],
    ids=[
        "no units at all",
        "empty control",
        "empty treatment",
        "all-null treatment",
        "one unit short of min_units",
        "all zero",
        "a constant that binary fractions cannot hold",
        "a large constant",
        "squares beyond double precision",
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_data_without_an_answer_is_insufficient_and_says_why(control: object, treatment: object, reason: str) -> None:
    effect = mean_effect(arms(control, treatment))
    assert effect.status[0] == "insufficient_data"
    assert effect.reason[0] == reason
    columns = effect.as_columns()
    assert {columns[name][0] for name in ("effect_abs", "effect_rel", "p_value", "effect_abs_ci_low", "mde")} == {None}
    assert_null_and_finite(effect)


def test_one_constant_arm_is_enough_variance_when_the_other_varies() -> None:
    effect = against_control(mean_arm(arms(constant(3.0), TREATMENT)))
    assert effect.status[0] == "ok"
    assert effect.df[0] == pytest.approx(349)
    assert effect.se_abs[0] == pytest.approx(TREATMENT.std(ddof=1) / np.sqrt(350))


def test_exactly_min_units_is_enough() -> None:
    assert mean_effect(arms(CONTROL[:100], TREATMENT[:100]), min_units=100).ok[0]


def test_a_control_mean_near_zero_has_no_relative_effect_but_keeps_the_absolute_one() -> None:
    effect = mean_effect(arms(CONTROL - CONTROL.mean(), TREATMENT))
    assert effect.status[0] == "ok"
    assert effect.reason[0] == "control_mean_near_zero"
    columns = effect.as_columns()
    assert columns["effect_abs"][0] is not None
    assert [columns[name][0] for name in ("effect_rel", "effect_rel_ci_low", "p_value_rel", "mde_rel")] == [None] * 4


@pytest.mark.parametrize(
    ("with_event", "status"), [(9, "insufficient_data"), (10, "ok"), (190, "ok"), (191, "insufficient_data")]
)
def test_a_binary_metric_needs_ten_units_with_and_ten_without_the_event_in_each_arm(
    with_event: int, status: str
) -> None:
    units = np.repeat([1.0, 0.0], [with_event, 200 - with_event])
    effect = mean_effect(arms(units, units), binary=True)
    assert effect.status[0] == status
    assert effect.reason[0] == ("too_few_events" if status == "insufficient_data" else "")


@pytest.mark.parametrize(("events", "status"), [(98, "insufficient_data"), (102, "ok")])
def test_the_ten_events_are_those_expected_in_the_smaller_arm(events: int, status: str) -> None:
    """A hundred events among 1,800 and 200 units are ten in the smaller arm, whether it has seen one or not."""
    control = np.repeat([1.0, 0.0], [events, 1800 - events])
    assert mean_effect(arms(control, constant(0.0)), binary=True).status[0] == status
    assert mean_effect(arms(constant(0.0), control), binary=True).status[0] == status


def test_units_that_differ_by_less_than_a_millionth_of_their_size_are_not_said_to_be_equal() -> None:
    near = 1e6 + RNG.normal(0, 0.3, 400)
    effect = mean_effect(arms(near, near + 0.2))
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "spread_beyond_precision")
    assert mean_effect(arms(near - 1e6, near - 1e6 + 0.2)).status[0] == "ok"


def test_a_conversion_of_one_hundred_percent_is_insufficient() -> None:
    effect = mean_effect(arms(constant(1.0), constant(1.0)), binary=True)
    assert effect.as_columns()["status"] == ["insufficient_data"]
    assert effect.reason[0] == "too_few_events, no_variance"
    assert_null_and_finite(effect)


def test_the_minimum_detectable_effect_is_found_four_times_in_five() -> None:
    effect = mean_effect(arms(CONTROL, TREATMENT))
    shift = effect.mde[0] / effect.se_abs[0]
    critical = stats.t.ppf(0.975, effect.df[0])
    power = stats.nct.sf(critical, effect.df[0], shift)
    assert power == pytest.approx(0.8, abs=0.001)


def test_merging_parts_gives_the_same_answer_as_the_whole() -> None:
    parts = SufficientStatistics.from_units(CONTROL[:150]) + SufficientStatistics.from_units(CONTROL[150:])
    merged = SufficientStatistics.stack([parts, SufficientStatistics.from_units(TREATMENT)])
    assert mean_effect(merged).p_value[0] == pytest.approx(mean_effect(arms(CONTROL, TREATMENT)).p_value[0], rel=1e-12)
