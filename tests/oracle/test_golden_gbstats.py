"""Our answers against those that gbstats 0.8.0 gave on the same sums (benchmarks/golden/record_gbstats.py).

Two conventions differ, and are converted here. gbstats takes each arm's own error, so that means are compared by
`against_control`; ours takes the pooled one where it is larger. Its relative interval and p are those of the delta
method, which are made from our `se_rel`; ours is Fieller's, with one p for both scales.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exp_platform.stats.ab import against_control, mean_arm, mean_effect
from exp_platform.stats.cuped import adjusted_arm
from exp_platform.stats.effect import Effect, compare
from exp_platform.stats.moments import linearise
from exp_platform.stats.quantile import share_error
from exp_platform.stats.ratio import ratio_arm
from exp_platform.stats.sequential import always_valid_p, half_width, tuning, with_anytime
from exp_platform.stats.srm import srm_test
from exp_platform.stats.student import t_quantile, two_sided_p
from exp_platform.stats.sufficient import SufficientStatistics

GOLDEN = json.loads((Path(__file__).parent / "golden" / "gbstats_0_8_0.json").read_text())
TOLERANCE = 1e-9
PLANNED = GOLDEN["sequential_tuning_parameter"]


def statistics(case: dict[str, Any]) -> SufficientStatistics:
    """The recorded sums in our record; for a proportion Σy² = Σy."""
    return SufficientStatistics.stack([one_arm(arm) for arm in case["arms"]])


def one_arm(sums: dict[str, float]) -> SufficientStatistics:
    empty = SufficientStatistics.zeros(k=1)
    values = {
        **vars(empty),
        "n": sums["n"],
        "y": sums["y"],
        "yy": sums.get("y*y", sums["y"]),
        "d": sums.get("d", 0.0),
        "dd": sums.get("d*d", 0.0),
        "yd": sums.get("y*d", 0.0),
        "x": [sums.get("x", 0.0)],
        "xx": [[sums.get("x*x", 0.0)]],
        "xy": [sums.get("y*x", 0.0)],
    }
    return SufficientStatistics(**{name: np.asarray(value, dtype=float) for name, value in values.items()})


def assert_scale(effect: Effect, answers: dict[str, Any], scale: str) -> None:
    """Estimate, standard error, interval and p of one scale, fixed and anytime, to 1e-9 relative."""
    fixed, looks = answers[scale], answers[f"{scale}_sequential"]
    ours = absolute(effect) if scale == "absolute" else by_the_delta_method(effect)
    theirs = {
        "effect": fixed["effect"],
        "se": fixed["se"],
        "low": fixed["ci"][0],
        "high": fixed["ci"][1],
        "p_value": fixed["p_value"],
        "anytime_low": looks["ci"][0],
        "anytime_high": looks["ci"][1],
        "anytime_p": looks["p_value"],
    }
    assert ours == pytest.approx(theirs, rel=TOLERANCE)


def absolute(effect: Effect) -> dict[str, float]:
    return {
        "effect": effect.effect_abs[0],
        "se": effect.se_abs[0],
        "low": effect.effect_abs_ci_low[0],
        "high": effect.effect_abs_ci_high[0],
        "p_value": effect.p_value[0],
        "anytime_low": effect.anytime_ci_low[0],
        "anytime_high": effect.anytime_ci_high[0],
        "anytime_p": effect.anytime_p_value[0],
    }


def by_the_delta_method(effect: Effect) -> dict[str, float]:
    """The relative answers that an estimate with a symmetric error would have."""
    value, se, n = effect.effect_rel[0], effect.se_rel[0], effect.control_n[0] + effect.treatment_n[0]
    half = t_quantile(0.975, effect.df)[0] * se
    rho2 = tuning(0.05, PLANNED)
    reach = half_width(n, rho2, 0.05) * se
    return {
        "effect": value,
        "se": se,
        "low": value - half,
        "high": value + half,
        "p_value": two_sided_p(value / se, effect.df)[0],
        "anytime_low": value - reach,
        "anytime_high": value + reach,
        "anytime_p": float(always_valid_p(value / se, n, rho2)),
    }


@pytest.mark.parametrize("scale", ["absolute", "relative"])
def test_a_difference_of_means_agrees(scale: str) -> None:
    effect = with_anytime(against_control(mean_arm(statistics(GOLDEN["mean"]))), PLANNED)
    assert_scale(effect, GOLDEN["mean"]["answers"], scale)


def test_the_same_means_differ_at_five_percent_on_their_absolute_scale_alone_and_on_both_of_ours() -> None:
    theirs = GOLDEN["mean"]["answers"]
    effect = against_control(mean_arm(statistics(GOLDEN["mean"])))
    assert round(theirs["absolute"]["p_value"], 3) == round(float(effect.p_value[0]), 3) == 0.020
    assert round(theirs["relative"]["p_value"], 3) == 0.062
    assert effect.p_value_rel[0] == effect.p_value[0]
    assert effect.effect_rel_ci_low[0] > 0 > theirs["relative"]["ci"][0]


@pytest.mark.parametrize("scale", ["absolute", "relative"])
def test_a_ratio_agrees(scale: str) -> None:
    """Every unit counts as one with a denominator, as with gbstats; each arm has its own error."""
    arms = statistics(GOLDEN["ratio"])
    effect = with_anytime(against_control(ratio_arm(arms, arms.n)), PLANNED)
    assert_scale(effect, GOLDEN["ratio"]["answers"], scale)


def test_a_proportion_agrees_once_its_variance_is_scaled_to_n_minus_one() -> None:
    """gbstats takes p(1 − p) as a proportion's variance; ours is the sample variance n/(n − 1)·p(1 − p)."""
    arms = statistics(GOLDEN["proportion"])
    effect = mean_effect(arms)
    theirs = GOLDEN["proportion"]["answers"]["absolute"]
    per_arm = effect.control_sd**2 / effect.control_n, effect.treatment_sd**2 / effect.treatment_n
    converted = np.sqrt(sum(v * (n - 1) / n for v, n in zip(per_arm, arms.n, strict=True)))
    assert effect.effect_abs[0] == pytest.approx(theirs["effect"], rel=TOLERANCE)
    assert converted[0] == pytest.approx(theirs["se"], rel=TOLERANCE)
    assert effect.se_abs[0] != pytest.approx(theirs["se"], rel=TOLERANCE)


@pytest.mark.parametrize("suffix", ["", "_sequential"])
def test_cuped_agrees_on_the_absolute_scale_with_their_theta(suffix: str) -> None:
    """gbstats takes theta from the two arms pooled with the gap between them; ours is centred in each arm."""
    case = GOLDEN["cuped"]
    arm = adjusted_arm(linearise(statistics(case)), np.array([case["theta"]]))
    effect = with_anytime(compare(arm[:1], arm[1:]), PLANNED)
    theirs = case["answers"][f"absolute{suffix}"]
    low, high, p = (
        (effect.anytime_ci_low, effect.anytime_ci_high, effect.anytime_p_value)
        if suffix
        else (effect.effect_abs_ci_low, effect.effect_abs_ci_high, effect.p_value)
    )
    assert [effect.effect_abs[0], effect.se_abs[0], low[0], high[0], p[0]] == pytest.approx(
        [theirs["effect"], theirs["se"], *theirs["ci"], theirs["p_value"]], rel=TOLERANCE
    )


def test_cuped_relative_agrees_once_the_unadjusted_mean_is_the_base() -> None:
    """gbstats divides adjusted differences by control's unadjusted mean; ours divides by the adjusted one."""
    case = GOLDEN["cuped"]
    linear = linearise(statistics(case))
    arm = adjusted_arm(linear, np.array([case["theta"]]))
    effect = compare(arm[:1], arm[1:])
    mean_c, mean_t = linear.mean
    var_c, var_t = arm.var_mean
    theirs = case["answers"]["relative"]
    assert effect.effect_abs[0] / mean_c == pytest.approx(theirs["effect"], rel=TOLERANCE)
    se = np.sqrt(var_t / mean_c**2 + var_c * mean_t**2 / mean_c**4)
    assert se == pytest.approx(theirs["se"], rel=TOLERANCE)


def test_the_variance_of_a_clustered_share_agrees() -> None:
    case = GOLDEN["clustered_share"]
    se, df = share_error(np.array(case["below"]), np.array(case["size"]))
    assert se**2 == pytest.approx(case["variance"], rel=TOLERANCE)
    assert df == len(case["size"]) - 1


@pytest.mark.parametrize("case", GOLDEN["srm"])
def test_the_fixed_chi_square_agrees(case: dict[str, Any]) -> None:
    result = srm_test([case["users"]], case["weights"])
    assert result.p_value == pytest.approx(case["p_value"], rel=TOLERANCE)
