"""Planning from statistics made by hand: users, days, what is beyond reach, and what a margin can show."""

from __future__ import annotations

import numpy as np
import pytest
from tests import hand_made as hm

from exp_platform.config.models import Guardrail, Metric
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.results.planning import (
    Ask,
    Moments,
    asked_effect,
    chance_without_harm,
    moments_of,
    plan_power,
)
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.power import required_units
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

REVENUE, SHARE = hm.metric("revenue"), hm.metric("conversion", "binary")


def moments(metric: Metric, units: hm.Units, **keys: object) -> Moments:
    return moments_of(hm.statistics([(metric, units)]), metric, hm.plan([metric], **keys))


def known(**keys: object) -> Moments:
    """Moments with round numbers."""
    base = {
        "metric": "revenue",
        "metric_version": 1,
        "experiment_id": "exp_test",
        "dt": hm.FIRST_DAY,
        "users": 14_000,
        "users_per_day": 1_000.0,
        "level": 10.0,
        "plain_sd": 10.0,
        "sd": 8.0,
        "with_value": 1.0,
        "share": False,
        "alpha": 0.05,
        "min_units": 100,
        "window_days": 7.0,
    }
    return Moments(**(base | keys))


def test_moments_are_the_level_the_spread_and_the_arrival_rate_of_the_users() -> None:
    units = hm.draw_units(1, 3_000)
    found = moments(REVENUE, units)
    control = units.y[units.arm == "control"]
    assert found.level == pytest.approx(10.0, abs=0.1)
    assert found.plain_sd == pytest.approx(control.std(ddof=1), rel=0.03)
    assert found.variance_reduction == pytest.approx(0.25, abs=0.03)  # half of each value is habit
    assert (found.users, found.users_per_day) == (6_000, pytest.approx(6_000 / 14))
    assert (found.window_days, found.with_value) == (7.0, 1.0)


def test_users_without_a_value_are_planned_for() -> None:
    units = hm.draw_units(2, 2_000)
    units.y[::4] = np.nan
    found = moments(hm.metric("latency", aggregation="mean"), units)
    assert (found.users, found.with_value) == (4_000, 0.75)
    whole, part = (plan_power(known(with_value=share), Ask(0.05, True)).horizons[0] for share in (1.0, 0.5))
    assert part.users_per_arm == pytest.approx(2 * whole.users_per_arm, abs=1)


@pytest.mark.parametrize("kind", ["ratio", "quantile"])
def test_ratios_and_quantiles_have_a_spread_to_plan_with(kind: str) -> None:
    found = moments(hm.metric("speed", kind), hm.draw_units(3, 2_000, kind=kind))
    n = plan_power(found, Ask(0.02, True)).horizons[0].users_per_arm
    assert found.level == pytest.approx(10.0, abs=0.3)
    assert n == pytest.approx(required_units(found.sd, 0.02 * found.level), abs=1)


def test_the_days_are_those_in_which_the_users_come_and_the_last_window_closes() -> None:
    fixed, anytime = plan_power(known(), Ask(0.02, True)).horizons
    assert fixed.users_per_arm == required_units(8.0, 0.2)
    assert fixed.users_per_arm_plain == required_units(10.0, 0.2)
    assert (fixed.users, fixed.days) == (2 * fixed.users_per_arm, int(np.ceil(2 * fixed.users_per_arm / 1_000)))
    assert fixed.days_to_answer == fixed.days + 7
    assert anytime.users > fixed.users


def test_an_experiment_as_large_as_planned_finds_the_effect_as_often_as_planned() -> None:
    """With CUPED, by both intervals: the sums of 2,000 planned experiments, through the estimators."""
    rng = np.random.default_rng(5)
    plan = plan_power(known(sd=8.0, plain_sd=10.0), Ask(0.1, True))
    for horizon, p_name in zip(plan.horizons, ("p_value", "anytime_p_value"), strict=True):
        n, arms = horizon.users_per_arm, []
        for shift in (0.0, 1.0):
            x = rng.normal(0, 6, (2_000, n))
            y = 10 + shift + x + rng.normal(0, 8, x.shape)
            empty = vars(SufficientStatistics.zeros((2_000,), k=1))
            sums = {"n": np.full(2_000, float(n)), "y": y.sum(axis=1), "yy": (y**2).sum(axis=1)}
            sums |= {"x": x.sum(axis=1)[:, None], "xx": (x**2).sum(axis=1)[:, None, None]}
            arms.append(SufficientStatistics(**{**empty, **sums, "xy": (x * y).sum(axis=1)[:, None]}))
        effect = with_anytime(cuped_effect(SufficientStatistics.stack(arms)), horizon.users)
        assert (getattr(effect, p_name) < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_several_treatments_share_alpha() -> None:
    three = plan_power(known(), Ask(0.02, True), arms=3).horizons[0]
    assert three.users_per_arm == required_units(8.0, 0.2, alpha=0.025)
    assert three.users == 3 * three.users_per_arm


def test_an_arm_is_never_planned_below_what_an_answer_needs() -> None:
    assert plan_power(known(), Ask(100.0, False)).horizons[0].users_per_arm == 100
    rare = known(share=True, level=0.001, sd=0.0316, plain_sd=0.0316)
    assert plan_power(rare, Ask(20.0, True)).horizons[0].users_per_arm == int(np.ceil(10 / 0.011))


@pytest.mark.parametrize(
    ("words", "relative", "metric", "found"),
    [
        ("2%", None, REVENUE, Ask(0.02, True)),
        ("-0.5", None, REVENUE, Ask(-0.5, False)),
        ("0.02", True, REVENUE, Ask(0.02, True)),
        ("1%", False, SHARE, Ask(0.01, False)),
    ],
)
def test_an_effect_is_read_as_a_person_writes_it(words: str, relative: bool | None, metric: Metric, found: Ask) -> None:
    assert asked_effect(words, relative, metric) == found


@pytest.mark.parametrize(
    ("words", "relative", "said"),
    [
        ("0", None, "must not be 0"),
        ("0%", None, "must not be 0"),
        ("two", None, "expected a number such as 2% or 0.5"),
        ("nan", None, "expected a number such as 2% or 0.5"),
        ("1e999", None, "expected a number such as 2% or 0.5"),
        ("2%", False, "'revenue' is no share"),
    ],
)
def test_an_effect_that_is_none_is_one_sentence(words: str, relative: bool | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        asked_effect(words, relative, REVENUE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "ask", "options", "said"),
    [
        ({"share": True, "level": 0.4}, Ask(2.0, True), {}, "would go from 0.4 to 1.2"),
        ({"share": True, "level": 0.4}, Ask(-0.5, False), {}, "would go from 0.4 to -0.1"),
        ({"level": 0.0}, Ask(0.1, True), {}, "of which nothing is a share"),
        ({}, Ask(1e-6, True), {}, "more than 10,000,000,000 users"),
        ({}, Ask(0.1, True), {"arms": 1}, "--arms: found 1"),
        ({}, Ask(0.1, True), {"power": 1.0}, "--power: found 1"),
    ],
)
def test_what_is_beyond_reach_is_refused(keys: dict, ask: Ask, options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_power(known(**keys), ask, **options)


def test_statistics_without_an_answer_are_named() -> None:
    with pytest.raises(ContractViolation, match=r"has no answer on metric 'revenue' \(arm_below_min_units\)"):
        moments(REVENUE, hm.draw_units(4, 50))


@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize("margin", [{"max_relative_harm": 0.15}, {"max_absolute_harm": 1.2}])
def test_the_chance_of_a_harmless_guardrail_is_that_of_simulated_ones(direction: str, margin: dict) -> None:
    rng = np.random.default_rng(6)
    guardrail, metric = Guardrail(metric="revenue", **margin), hm.metric("revenue", direction=direction)
    chance = chance_without_harm(known(sd=10.0), guardrail, metric, (500, 4_500), 0.05)
    sums = []
    for n in (500, 4_500):
        mean = 10 + rng.normal(0, 10 / np.sqrt(n), 4_000)
        empty = vars(SufficientStatistics.zeros((4_000,)))
        units = {"n": np.full(4_000, float(n)), "y": n * mean, "yy": n * mean**2 + (n - 1) * 100.0}
        sums.append(SufficientStatistics(**{**empty, **units}))
    effect = mean_effect(SufficientStatistics.stack(sums))[0]
    good_is_up, absolute = direction == "increase", "max_absolute_harm" in margin
    passed = assess_guardrails(effect, guardrail.margin, good_is_up, absolute=absolute).status == "pass"
    assert passed.mean() == pytest.approx(chance, abs=0.025)
    assert 0.6 < chance < 0.99
