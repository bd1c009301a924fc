"""Guardrails: pass by evidence, fail by evidence, else inconclusive."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.effect import Arm, Effect, compare
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics


def relative(change: list[float], se: float = 0.01, n: float = 50_000) -> Effect:
    """Effects of the given relative size on a control mean of 100 that is known almost exactly."""

    def arm(mean: object, variance: float) -> Arm:
        level = np.asarray(mean, dtype=float)
        return Arm(*(np.broadcast_to(v, level.shape) for v in (n, level, 1.0, variance, n - 1)))

    control = arm(np.full(len(change), 100.0), 1e-9)
    return with_anytime(compare(control, arm([100 * (1 + c) for c in change], (100 * se) ** 2)), 10_000)


@pytest.mark.parametrize(
    ("change", "increase_is_good", "status"),
    [
        (0.00, True, "pass"),
        (0.02, True, "pass"),
        (-0.02, True, "pass"),
        (-0.035, True, "inconclusive"),
        (-0.06, True, "fail"),
        (0.06, True, "pass"),
        (0.06, False, "fail"),
        (-0.06, False, "pass"),
    ],
)
def test_with_a_margin_of_five_percent_and_a_standard_error_of_one(
    change: float, increase_is_good: bool, status: str
) -> None:
    assert assess_guardrails(relative([change]), 0.05, increase_is_good).status.tolist() == [status]


def test_harm_is_the_relative_effect_in_the_bad_direction_and_the_bound_its_upper_end() -> None:
    up, down = assess_guardrails(relative([-0.02]), 0.05, True), assess_guardrails(relative([0.02]), 0.05, False)
    assert [up.harm[0], up.bound[0]] == pytest.approx([0.02, 0.02 + 1.96 * 0.01], abs=1e-5)
    assert [down.harm[0], down.bound[0]] == pytest.approx([up.harm[0], up.bound[0]], rel=1e-6)


def test_harm_beyond_the_margin_without_evidence_is_inconclusive() -> None:
    assert assess_guardrails(relative([-0.06], se=0.05), 0.05, True).status[0] == "inconclusive"


def test_a_certain_small_harm_within_the_margin_is_no_failure() -> None:
    assert assess_guardrails(relative([-0.02], se=0.001), 0.05, True).status[0] == "pass"


def test_failures_are_adjusted_for_the_number_of_rows_and_passes_are_not() -> None:
    """At z = 2.2 one row fails alone, but not among eight; what passes alone passes among many."""
    harmful, harmless = relative([-0.022]), relative([-0.022] + [0.0] * 7)
    assert assess_guardrails(harmful, 0.01, True).status[0] == "fail"
    among = assess_guardrails(harmless, 0.01, True)
    assert among.status[0] == "inconclusive"
    passing = assess_guardrails(relative([0.0] * 8), 0.05, True)
    assert passing.status.tolist() == ["pass"] * 8


def test_before_the_planned_end_the_anytime_interval_decides() -> None:
    effect = relative([-0.026])
    assert assess_guardrails(effect, 0.05, True).status[0] == "pass"
    early = assess_guardrails(effect, 0.05, True, anytime=True)
    assert early.status[0] == "inconclusive"
    assert early.bound[0] == pytest.approx(-effect.anytime_rel_ci_low[0])


def test_a_row_without_a_relative_effect_is_inconclusive_and_costs_the_others_nothing() -> None:
    empty = mean_effect(SufficientStatistics.zeros((2, 1)))[0]
    found = assess_guardrails(empty, 0.05, True)
    assert found.status.tolist() == ["inconclusive"]
    assert np.isnan([found.harm[0], found.bound[0], found.p_harm_adjusted[0]]).all()


@pytest.mark.parametrize("anytime", [False, True])
def test_a_treatment_that_lost_everything_fails(anytime: bool) -> None:
    """Nobody in the treatment has a value above 0, and no evidence could be stronger."""
    values = np.random.default_rng(1).gamma(2.0, 1.0, 5_000)
    arms = SufficientStatistics.stack([SufficientStatistics.from_units(v) for v in (values, np.zeros(5_000))])
    effect = with_anytime(mean_effect(arms), 10_000)
    assert assess_guardrails(effect, 0.05, True, anytime=anytime).status.tolist() == ["fail"]
    assert assess_guardrails(effect, 0.05, False, anytime=anytime).status.tolist() == ["pass"]


def test_ten_events_against_none_in_a_small_arm_rule_nothing_out() -> None:
    units = [np.repeat([1.0, 0.0], counts) for counts in ((10, 1_790), (0, 200))]
    effect = mean_effect(SufficientStatistics.stack([SufficientStatistics.from_units(u) for u in units]), binary=True)
    assert assess_guardrails(effect, 0.05, False).status.tolist() == ["inconclusive"]


@pytest.mark.parametrize(("change", "status"), [(0.02, "pass"), (0.035, "inconclusive"), (0.06, "fail")])
@pytest.mark.parametrize("anytime", [False, True])
def test_an_absolute_margin_is_in_the_unit_of_the_metric(change: float, status: str, anytime: bool) -> None:
    """Control's mean is 100, so that 5 units of harm are 5%."""
    effect = relative([change], se=0.005 if anytime else 0.01)
    shown = assess_guardrails(effect, 5.0, False, absolute=True, anytime=anytime)
    assert shown.status[0] == status
    low, high = (
        (effect.anytime_ci_low, effect.anytime_ci_high)
        if anytime
        else (effect.effect_abs_ci_low, effect.effect_abs_ci_high)
    )
    assert [shown.harm[0], shown.harm_low[0], shown.bound[0]] == pytest.approx([100 * change, low[0], high[0]])


def test_an_absolute_margin_needs_no_relative_effect() -> None:
    """Where control has no event nothing is relative to it, and the harm in events still has a bound."""
    units = [np.repeat([1.0, 0.0], counts) for counts in ((0, 5_000), (25, 4_975))]
    effect = mean_effect(SufficientStatistics.stack([SufficientStatistics.from_units(u) for u in units]), binary=True)
    both = assess_guardrails(effect[[0, 0]], [0.05, 0.02], False, absolute=[False, True])
    assert both.status.tolist() == ["inconclusive", "pass"]


@pytest.mark.parametrize(
    ("harm", "half_width", "status"),
    [(0.01, 0.02, "pass"), (0.08, 0.06, "fail"), (0.03, 0.05, "inconclusive"), (0.08, 0.09, "inconclusive")],
)
def test_the_worked_examples_of_the_documentation(harm: float, half_width: float, status: str) -> None:
    """docs/decisions-and-memos.md, "When is a guardrail held?", margin 5%."""
    found = assess_guardrails(relative([harm], se=half_width / 1.96), 0.05, False)
    assert [found.harm_low[0], found.bound[0]] == pytest.approx([harm - half_width, harm + half_width], abs=1e-4)
    assert found.status[0] == status
