"""Numbers and sentences of the memo: units said, rounding by the interval's width, an improvement called one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from exp_platform.memo.blocks import Interval
from exp_platform.memo.draw.interval import interval_svg
from exp_platform.memo.draw.line import interval_line
from exp_platform.memo.draw.scale import scale_of
from exp_platform.memo.effect_words import figures, picture, sentence, verdict
from exp_platform.memo.figures import Unit, p_is, p_text
from exp_platform.memo.harm import harm_sentence
from exp_platform.memo.progress import Progress, can_see, wait


def row(**keys: Any) -> dict[str, Any]:
    """A result on conversion that rose clearly."""
    base: dict[str, Any] = {"title": "Conversion rate", "format": "percent", "unit": None, "scale": "absolute"}
    base |= {"direction": "increase", "arm": "treatment", "method": "cuped", "status": "ok", "reason": ""}
    base |= {"control_mean": 0.1019326, "treatment_mean": 0.1272328, "practical_threshold": 0.005, "alpha": 0.05}
    base |= {"effect": 0.0253002, "low": 0.0161581, "high": 0.0344586, "tone": "better", "is_judged": True}
    base |= {"effect_abs": 0.0253002, "abs_low": 0.0161581, "abs_high": 0.0344586, "mde": 0.013}
    return base | keys


def money(**keys: Any) -> dict[str, Any]:
    """A result on revenue that nobody can tell from no change."""
    base: dict[str, Any] = {"title": "Revenue per user", "format": "currency", "unit": "€", "tone": "unclear"}
    base |= {"control_mean": 3.742, "treatment_mean": 3.9, "practical_threshold": 0.1}
    base |= {"effect": 0.158, "low": -0.21, "high": 0.526, "effect_abs": 0.158, "abs_low": -0.21, "abs_high": 0.526}
    return row(**base | keys)


def latency(low: float, effect: float, high: float, **keys: Any) -> dict[str, Any]:
    """A result on latency, of which less is better."""
    base: dict[str, Any] = {"title": "Page latency", "format": "milliseconds", "direction": "decrease"}
    base |= {"control_mean": 292.28, "treatment_mean": 292.28 + effect, "practical_threshold": 0.0}
    base |= {"effect": effect, "low": low, "high": high, "effect_abs": effect, "abs_low": low, "abs_high": high}
    return row(**base | keys)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (row(), "Conversion rate rose by 2.5 points, from 10.2% to 12.7%; 95% interval 1.6 to 3.4 points."),
        (
            money(),
            "Revenue per user shows no clear change: +€0.16, €3.74 against €3.90; 95% interval −€0.21 to €0.53.",
        ),
        (
            latency(-18.6, -12.2, -5.8),
            "Page latency fell by 12 ms, an improvement, from 292 ms to 280 ms; 95% interval −19 to −6 ms.",
        ),
        (
            latency(5.8, 12.2, 18.6, tone="worse"),
            "Page latency rose by 12 ms, a harm, from 292 ms to 304 ms; 95% interval 6 to 19 ms.",
        ),
        (
            row(scale="relative", effect=0.2482, low=0.1519, high=0.3529),
            "Conversion rate rose by 25%, from 10.2% to 12.7%; 95% interval 15% to 35%.",
        ),
        (
            row(method="did", treatment_mean=0.1559, effect=0.0392, effect_abs=0.0392),
            "Conversion rate rose by 3.9 points, from 11.7% expected without the change to 15.6% seen; "
            "95% interval 1.6 to 3.4 points.",
        ),
        (
            row(is_judged=False, tone="unclear"),
            "The difference seen in conversion rate, +2.5 points (95% interval 1.6 to 3.4 points), is not an effect: "
            "do not use it.",
        ),
        (
            row(status="insufficient_data", reason="too_few_events", effect=None, low=None, high=None),
            "Conversion rate has no answer yet. Fewer than 10 units of the smaller arm are expected to have, or to "
            "lack, the event.",
        ),
    ],
)
def test_an_effect_is_a_sentence_with_units(given: dict[str, Any], text: str):
    assert sentence(given) == text


def test_figures_and_verdict_agree_with_the_sentence():
    assert figures(row()) == "+2.5 points (1.6 to 3.4)" and verdict(row()) == "better"
    assert figures(money()) == "+€0.16 (−€0.21 to €0.53)" and verdict(money()) == "not clear"
    assert verdict(row(is_judged=False)) == "not valid"


@pytest.mark.parametrize(
    ("width", "unit", "text"),
    [
        (0.018, Unit("percent"), "+2.5 points"),
        (0.0018, Unit("percent"), "+2.53 points"),
        (0.18, Unit("percent"), "+3 points"),
        (40.0, Unit("number", "orders"), "+0 orders"),
        (0.0005, Unit("seconds"), "+0.02530 s"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_can_show(width: float, unit: Unit, text: str):
    assert unit.change(0.0253, unit.decimals(width)).replace("+0 ", "+0 ") in (text, text.removeprefix("+"))


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "p > 0.99"), (0.99996, "p > 0.99"), (0.0, "p < 0.0001"), (0.45185, "p = 0.45"), (None, "no p")],
)
def test_a_p_is_never_said_to_be_zero_or_one(p: float | None, text: str):
    assert p_is(p) == text and "1.0000" not in p_text(p)


def harm(**keys: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"title": "Page latency", "format": "milliseconds", "unit": None, "direction": "decrease"}
    base |= {"harm": -0.0064, "harm_low": -0.0192, "bound": -0.0012, "margin": 0.05, "margin_kind": "relative"}
    return base | {"status": "pass", "reason": "bound_within_margin", "is_judged": True, "arm": "treatment"} | keys


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (harm(), "Page latency fell by 0.6%, an improvement (interval −1.9% to −0.1%); a rise of 5% is allowed."),
        (
            harm(title="Sessions per user", direction="increase", harm=0.0047, harm_low=-0.0149, bound=0.0239),
            "Sessions per user fell by 0.5%, which may be chance (interval −2.4% to 1.5%); a fall of 5% is allowed.",
        ),
        (
            harm(status="fail", harm=0.125, harm_low=0.119, bound=0.13),
            "Page latency rose by 12.5%, a harm (interval 11.9% to 13.0%); a rise of 5% is allowed.",
        ),
        (harm(harm=0.00001, harm_low=-0.006, bound=0.006), "Page latency did not move (interval"),
        (harm(is_judged=False), "Page latency: not judged, since the numbers are not valid."),
    ],
)
def test_a_guardrail_is_told_in_the_direction_of_its_metric(given: dict[str, Any], text: str):
    assert harm_sentence(given).startswith(text)


def way(factor: float | None, days: tuple[int, int] | None = (30, 40), left: int = 10) -> Progress:
    return Progress("treatment", 0.0464, 0.005, 1200, factor, days, left)


def test_precision_is_told_by_what_can_be_seen_and_what_matters():
    assert can_see(row(), way(86.1)) == "Can see 4.6 points, you care about 0.5: needs 86 times the users"
    assert can_see(row(), way(0.4)).endswith("precise enough")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (way(2.0, (30, 40), 45), "about 30 to 40 more days at the arrival so far"),
        (way(2.0), "not within the plan: it would take about 30 to 40 more days at the arrival so far, and 10 days"),
        (way(2.0, (30, 40), 0), "not within the plan: it would take about 30 to 40 more days"),
        (way(9e9, (10**9, 10**9)), "not within the plan, nor within ten years"),
        (way(2.0, None), "nobody arrives"),
        (way(0.5), ""),
    ],
)
def test_the_days_to_a_decision_are_honest_about_the_plan(given: Progress, text: str):
    assert wait(given).startswith(text) and (text or not wait(given))


@pytest.mark.parametrize(
    ("low", "high"), [(0.016, 0.034), (-3.4, 0.1), (0.0, 0.0), (-1e-9, 2e-9), (1e6, 3e6), (-5.0, -4.0)]
)
def test_an_axis_holds_everything_and_zero_and_has_few_round_ticks(low: float, high: float):
    scale = scale_of(low, high, 6)
    assert scale.low <= min(low, 0) and max(high, 0) <= scale.high
    assert 0.0 in scale.ticks and 1 <= len(scale.ticks) <= 8
    assert all(0 <= scale.at(value) <= 100 for value in (low, high, 0.0, *scale.ticks))


def test_the_picture_draws_threshold_zero_and_interval_on_one_scale():
    drawn = picture(row())
    assert drawn is not None
    assert [mark.at for mark in drawn.marks] == [0.005, -0.005]
    svg = str(interval_svg(drawn))
    assert "matters from 0.5 points" in svg and 'class="zero"' in svg and svg.count('class="mark"') == 2
    line, ticks = interval_line(drawn, 100)
    assert line.index("│") < line.index("├") < line.index("●") < line.index("┤") and len(line) <= 100
    assert ticks.split() == ["0", "1", "2", "3", "percentage", "points"]


def test_a_small_axis_names_few_long_figures_so_that_they_stand_apart():
    euros = Interval(0.01, -0.04, 0.07, Unit("currency", "€"), "Revenue did not move")
    assert re.findall(r'class="ticks"[^>]*>([^<]+)<', str(interval_svg(euros, small=True))) == ["€0.00", "€0.05"]
    points = Interval(0.028, 0.014, 0.042, Unit("percent"), "Conversion rose")
    assert len(re.findall(r'class="ticks"', str(interval_svg(points, small=True)))) >= 4
