"""Ratios by the delta method and CUPED with one or several covariates."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from exp_platform.stats.ab import against_control, mean_arm, mean_effect
from exp_platform.stats.cuped import cuped_effect, pooled_theta
from exp_platform.stats.moments import linearise
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sufficient import SufficientStatistics

RNG = np.random.default_rng(5)
SIZES = (600, 500, 700)
PRE = [RNG.gamma(2.0, 2.0, (n, 2)) for n in SIZES]
POST = [x @ [0.9, 0.3] + RNG.normal(2 + 0.2 * a, 1.0, len(x)) for a, x in enumerate(PRE)]
DENOMINATOR = [1.0 + RNG.poisson(x[:, 0]) for x in PRE]


def arms(covariates: int = 2, count: int = 3, ratio: bool = False) -> SufficientStatistics:
    return SufficientStatistics.stack(
        [
            SufficientStatistics.from_units(POST[a], x=PRE[a][:, :covariates], d=DENOMINATOR[a] if ratio else None)
            for a in range(count)
        ]
    )


def test_a_ratio_whose_denominator_is_one_is_the_mean() -> None:
    ones = SufficientStatistics.stack([SufficientStatistics.from_units(POST[a], d=np.ones(SIZES[a])) for a in range(2)])
    ratio, mean = ratio_effect(ones).as_columns(), mean_effect(ones).as_columns()
    for name in ("effect_abs", "se_abs", "df", "p_value", "effect_rel", "se_rel"):
        assert ratio[name] == pytest.approx(mean[name], rel=1e-9)


def test_a_ratio_has_the_variance_of_its_unit_influences() -> None:
    effect = ratio_effect(arms(count=2, ratio=True))
    parts = []
    for y, d in zip(POST[:2], DENOMINATOR[:2], strict=True):
        parts.append(((y - y.sum() / d.sum() * d) / d.mean()).var(ddof=1) / len(y))
    assert effect.effect_abs[0] == pytest.approx(
        POST[1].sum() / DENOMINATOR[1].sum() - POST[0].sum() / DENOMINATOR[0].sum()
    )
    assert effect.se_abs[0] == pytest.approx(np.sqrt(sum(parts)), rel=1e-9)


def test_a_ratio_proportional_to_its_denominator_has_no_variance() -> None:
    record = SufficientStatistics.from_units(0.3 * DENOMINATOR[0], d=DENOMINATOR[0])
    effect = ratio_effect(SufficientStatistics.stack([record, record]))
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "no_variance")


def test_a_ratio_with_nothing_to_divide_by_says_so() -> None:
    zero = SufficientStatistics.from_units(np.zeros(200), d=np.zeros(200))
    some = SufficientStatistics.from_units(POST[0], d=DENOMINATOR[0])
    effect = ratio_effect(SufficientStatistics.stack([some, zero]))
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "zero_denominator")
    assert effect.as_columns()["treatment_mean"] == [None]


def test_theta_is_the_regression_coefficient_with_an_intercept_for_each_arm_and_the_weight_of_its_error() -> None:
    """An arm's units weigh 1 / (n (n − 1)), as in the sum of the arms' sampling variances."""
    dummies = np.repeat(np.eye(3), SIZES, axis=0)
    design = np.hstack([dummies, np.concatenate(PRE)])
    weights = np.repeat([1 / (n * (n - 1)) for n in SIZES], SIZES)
    fit = sm.WLS(np.concatenate(POST), design, weights=weights).fit()
    assert pooled_theta(linearise(arms())).value == pytest.approx(fit.params[3:], rel=1e-9)
    assert cuped_effect(arms()).effect_abs == pytest.approx(fit.params[1:3] - fit.params[0], rel=1e-9)


def uneven(slopes: tuple[float, ...], sizes: tuple[int, ...] = (1_800, 200), seed: int = 2) -> SufficientStatistics:
    """Arms whose outcome follows the covariate with a slope of their own."""
    rng = np.random.default_rng(seed)
    records = []
    for slope, n in zip(slopes, sizes, strict=True):
        x = rng.normal(2, 1, n)
        records.append(SufficientStatistics.from_units(5 + slope * x + rng.normal(0, 1, n), x=x))
    return SufficientStatistics.stack(records)


@pytest.mark.parametrize("slopes", [(1.0, -1.0), (1.0, 0.0), (0.0, 2.0), (3.0, 1.0)])
def test_with_nine_units_to_one_and_unlike_slopes_it_is_never_wider_than_the_plain_estimate(
    slopes: tuple[float, float],
) -> None:
    for both in (uneven(slopes), uneven(slopes[::-1], (200, 1_800))):
        adjusted, plain = cuped_effect(both), mean_effect(both)
        assert adjusted.se_abs[0] <= plain.se_abs[0] * (1 + 1e-12)
        assert adjusted.variance_reduction[0] >= 0
        assert adjusted.reason[0] == ""


def test_among_three_arms_a_comparison_that_the_common_slope_widens_says_so() -> None:
    effect = cuped_effect(uneven((1.0, 1.0, -2.0), (900, 900, 100)))
    assert effect.reason.tolist() == ["covariate_widens_the_interval", ""]
    assert effect.variance_reduction[0] < 0 < effect.variance_reduction[1]
    assert effect.control_mean[0] == effect.control_mean[1]


def test_a_covariate_shrinks_the_pooled_error_too_where_the_small_arm_holds_no_large_value() -> None:
    rng = np.random.default_rng(6)
    records = []
    for n, sigma in ((4_500, 1.5), (500, 0.3)):
        habit = rng.normal(0, 1, n)
        records.append(SufficientStatistics.from_units(np.exp(sigma * habit + rng.normal(0, 0.3, n)), x=habit))
    both = SufficientStatistics.stack(records)
    adjusted, plain = cuped_effect(both), mean_effect(both)
    assert plain.se_abs[0] > 1.5 * against_control(mean_arm(both)).se_abs[0]
    assert adjusted.variance_reduction[0] > 0.05
    assert (adjusted.se_abs / plain.se_abs) ** 2 == pytest.approx(1 - adjusted.variance_reduction, rel=1e-9)


def test_a_covariate_shrinks_the_error_of_a_share_by_the_factor_by_which_it_shrinks_welchs() -> None:
    rng = np.random.default_rng(8)
    records = []
    for n in (4_000, 1_000):
        habit = rng.random(n) < 0.3
        y = (rng.random(n) < np.where(habit, 0.8, 0.1)).astype(float)
        records.append(SufficientStatistics.from_units(y, x=habit.astype(float)))
    both = SufficientStatistics.stack(records)
    adjusted, plain = cuped_effect(both, binary=True), mean_effect(both, binary=True)
    assert adjusted.variance_reduction[0] > 0.4
    assert (adjusted.se_abs / plain.se_abs) ** 2 == pytest.approx(1 - adjusted.variance_reduction, rel=1e-9)
    for low, high in (
        (adjusted.effect_abs_ci_low, adjusted.effect_abs_ci_high),
        (adjusted.effect_rel_ci_low, adjusted.effect_rel_ci_high),
    ):
        assert bool(low[0] > 0 or high[0] < 0) == bool(adjusted.p_value[0] < 0.05)


def test_the_units_that_have_a_denominator_are_those_that_count() -> None:
    """Each arm has 400 units, 12 of them with a denominator: their spread is the error, and min_units asks for them."""
    rng = np.random.default_rng(9)
    records, counts = [], np.array([12.0, 12.0])
    for _ in counts:
        d = np.where(np.arange(400) < 12, 3.0, 0.0)
        records.append(SufficientStatistics.from_units(d * rng.gamma(4, 0.25, 400), d=d))
    both = SufficientStatistics.stack(records)
    few = ratio_effect(both, with_denominator=counts)
    assert (few.status[0], few.reason[0]) == ("insufficient_data", "few_units_with_denominator")
    effect = ratio_effect(both, with_denominator=counts, min_units=12)
    assert effect.ok[0] and effect.df[0] <= 22
    carried = SufficientStatistics.stack(
        [SufficientStatistics(**vars(r) | {"n": m}) for r, m in zip(records, counts, strict=True)]
    )
    assert effect.se_abs[0] == pytest.approx(ratio_effect(carried, min_units=12).se_abs[0], rel=1e-9)


def test_where_nobody_counted_them_a_lower_bound_gives_the_degrees_of_freedom_and_refuses_below_ten() -> None:
    rng = np.random.default_rng(9)
    for m, status in ((9, "insufficient_data"), (11, "ok")):
        d = np.where(np.arange(300) < m, 3.0, 0.0)
        records = [SufficientStatistics.from_units(d * rng.gamma(4, 0.25, 300), d=d) for _ in range(2)]
        effect = ratio_effect(SufficientStatistics.stack(records))
        assert effect.status[0] == status
        assert status != "ok" or effect.df[0] <= 2 * (m - 1)


def test_controls_adjusted_mean_does_not_depend_on_the_arm_it_is_compared_with() -> None:
    effect = cuped_effect(arms())
    assert effect.control_mean[0] == effect.control_mean[1]


def test_two_covariates_reduce_variance_more_than_one_and_one_more_than_none() -> None:
    one, two = (cuped_effect(arms(covariates=k)).variance_reduction[0] for k in (1, 2))
    assert 0.5 < one < two < 1
    assert two == pytest.approx(1 - (cuped_effect(arms()).se_abs[0] / mean_effect(arms()).se_abs[0]) ** 2)


def test_a_covariate_that_explains_the_outcome_of_a_ratio_reduces_its_variance() -> None:
    plain, adjusted = ratio_effect(arms(ratio=True)), cuped_effect(arms(ratio=True), ratio=True)
    assert (adjusted.se_abs < plain.se_abs).all()
    assert (adjusted.variance_reduction > 0.1).all()


def test_the_relative_error_includes_the_pooled_covariate_mean() -> None:
    """Over fresh draws the relative effect spreads as its standard error says, also where the lift is large."""
    rng = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(600):
        records = []
        for slope, n in ((1, 150), (3, 300)):
            x = rng.normal(2, 1, n)
            records.append(SufficientStatistics.from_units(slope * x + rng.normal(0, 0.2, n), x=x))
        effect = cuped_effect(SufficientStatistics.stack(records))
        found.append(effect.effect_rel[0])
        errors.append(effect.se_rel[0])
    assert np.std(found) == pytest.approx(np.mean(errors), rel=0.08)


@pytest.mark.parametrize(
    "covariate", [None, np.zeros, np.ones], ids=["no covariate", "nobody was there before", "a constant covariate"]
)
def test_without_a_usable_covariate_it_is_the_plain_estimate_and_says_so(covariate: object) -> None:
    records = [SufficientStatistics.from_units(y, x=None if covariate is None else covariate(len(y))) for y in POST[:2]]
    both = SufficientStatistics.stack(records)
    adjusted, plain = cuped_effect(both).as_columns(), mean_effect(both).as_columns()
    assert adjusted["reason"] == ["no_usable_covariate"]
    assert adjusted["variance_reduction"] == [0.0]
    for name in ("effect_abs", "se_abs", "p_value", "effect_rel", "se_rel", "control_mean"):
        assert adjusted[name] == pytest.approx(plain[name], rel=1e-12)


def test_a_repeated_covariate_changes_nothing() -> None:
    twice = SufficientStatistics.stack(
        [SufficientStatistics.from_units(y, x=x[:, [0, 0]]) for y, x in zip(POST, PRE, strict=True)]
    )
    assert cuped_effect(twice).effect_abs == pytest.approx(cuped_effect(arms(covariates=1)).effect_abs, rel=1e-9)


def test_an_outcome_that_the_covariate_determines_has_no_variance_left() -> None:
    same = SufficientStatistics.stack([SufficientStatistics.from_units(x[:, 0], x=x[:, 0]) for x in PRE])
    effect = cuped_effect(same)
    assert effect.status.tolist() == ["insufficient_data"] * 2
    assert effect.reason[0] == "no_variance"


@pytest.mark.parametrize("ratio", [False, True])
def test_a_constant_outcome_has_no_variance_whatever_the_covariate(ratio: bool) -> None:
    """Rounding in the cross products of 0.7 with a history must not pass for a tiny variance."""
    constant = SufficientStatistics.stack(
        [SufficientStatistics.from_units(0.7 * np.ones(len(x)), x=x, d=np.full(len(x), 0.3)) for x in PRE]
    )
    effect = cuped_effect(constant, ratio=ratio)
    assert effect.status.tolist() == ["insufficient_data"] * 2
    assert set(effect.reason) == {"no_variance"}


def test_an_empty_arm_leaves_the_other_comparisons_alone() -> None:
    empty = SufficientStatistics.zeros(k=2)
    records = [SufficientStatistics.from_units(y, x=x) for y, x in zip(POST[:2], PRE[:2], strict=True)]
    effect = cuped_effect(SufficientStatistics.stack([*records, empty]))
    assert effect.status.tolist() == ["ok", "insufficient_data"]
    assert effect.effect_abs[0] == pytest.approx(cuped_effect(SufficientStatistics.stack(records)).effect_abs[0])


def test_filling_a_missing_covariate_with_the_pooled_mean_keeps_an_effect_on_new_users() -> None:
    """New users (no history) gain 1.0, known users nothing: dropping them would hide the effect."""
    rng = np.random.default_rng(3)
    records = []
    for lift in (0.0, 1.0):
        new = rng.random(4000) < 0.4
        before = rng.normal(5, 1, 4000)
        after = np.where(new, 5.0, before) + lift * new + rng.normal(0, 0.5, 4000)
        records.append(SufficientStatistics.from_units(after, x=np.where(new, 5.0, before)))
    effect = cuped_effect(SufficientStatistics.stack(records))
    assert effect.effect_abs_ci_low[0] < 0.4 < effect.effect_abs_ci_high[0]
