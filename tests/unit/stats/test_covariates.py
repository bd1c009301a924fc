"""CUPED with several sources of covariates, against least squares on unit rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.covariates import MIN_STRATUM, Source, adjusted_effect, with_strata
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sufficient import SufficientStatistics

OWN, OTHER = Source("pre", (0,)), Source("sessions", (1,))


def draw(seed: int = 1, sizes: tuple[int, ...] = (900, 700), other: float = 1.0, lift: float = 0.3) -> list[Any]:
    """Unit rows of each arm: values, and two covariates of which the second explains what the first does not."""
    rng = np.random.default_rng(seed)
    arms = []
    for i, n in enumerate(sizes):
        x = rng.normal(size=(n, 2)) @ np.array([[1.0, 0.4], [0.0, 1.0]])
        arms.append((3 + x[:, 0] + other * x[:, 1] + rng.normal(size=n) + lift * i, x))
    return arms


def sums(arms: list[Any], columns: list[int] | None = None) -> SufficientStatistics:
    return SufficientStatistics.stack(
        [SufficientStatistics.from_units(y, x=x if columns is None else x[:, columns]) for y, x in arms]
    )


def regression(arms: list[Any]) -> Any:
    """Least squares on unit rows with an intercept for each arm; a unit weighs 1 / (n (n − 1)) of its arm."""
    sizes = [len(y) for y, _ in arms]
    design = np.hstack([np.repeat(np.eye(len(arms)), sizes, axis=0), np.concatenate([x for _, x in arms])])
    weights = np.repeat([1 / (n * (n - 1)) for n in sizes], sizes)
    return sm.WLS(np.concatenate([y for y, _ in arms]), design, weights=weights).fit()


def test_two_covariates_give_the_effect_of_the_regression_on_unit_rows() -> None:
    arms = draw()
    adjusted = adjusted_effect(sums(arms), [OWN, OTHER])
    fit = regression(arms)
    assert adjusted.effect.effect_abs[0] == pytest.approx(fit.params[1] - fit.params[0], rel=1e-9)
    residual = [y - x @ fit.params[2:] for y, x in arms]
    variance = sum(r.var(ddof=1) / len(r) for r in residual)
    units = (1 / 900 + 1 / 700) ** 2 / (1 / 900**3 + 1 / 700**3)
    assert adjusted.effect.se_abs[0] ** 2 == pytest.approx(variance * (units / (units - 1)) ** 2, rel=1e-9)


def test_the_gain_is_stated_for_each_source_and_all_gains_add_up() -> None:
    arms = draw()
    adjusted = adjusted_effect(sums(arms), [OWN, OTHER])
    own, other = (adjusted.gains[name][0] for name in ("pre", "sessions"))
    assert own == pytest.approx(cuped_effect(sums(arms, [0])).variance_reduction[0], rel=1e-12)
    assert own > 0.2 and other > 0.15
    assert own + other == pytest.approx(adjusted.effect.variance_reduction[0], rel=1e-12)
    plain = mean_effect(sums(arms))
    assert (adjusted.effect.se_abs / plain.se_abs)[0] ** 2 == pytest.approx(1 - own - other, rel=1e-9)


def test_the_metrics_own_pre_period_alone_is_cuped_as_it_was() -> None:
    arms = sums(draw(), [0])
    one, other = adjusted_effect(arms, [OWN]).effect, cuped_effect(arms)
    assert one.as_columns() == other.as_columns()


def test_a_source_that_says_nothing_is_left_out_with_a_reason_and_the_rest_stands() -> None:
    arms = draw(seed=4, other=0.0)
    noise = np.random.default_rng(6)
    arms = [(y, np.column_stack([x[:, 0], noise.normal(size=len(y))])) for y, x in arms]
    adjusted = adjusted_effect(sums(arms), [OWN, OTHER])
    assert adjusted.effect.reason.tolist() == ["covariate_without_gain:sessions"]
    assert np.isnan(adjusted.gains["sessions"]).all()
    plain = cuped_effect(sums(arms, [0]))
    assert adjusted.effect.effect_abs == pytest.approx(plain.effect_abs, rel=1e-12)
    assert adjusted.effect.se_abs == pytest.approx(plain.se_abs, rel=1e-12)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (lambda x: 3 - 2 * x, "covariate_repeats_others:sessions"),
        (lambda x: np.full_like(x, 7.0), "covariate_constant:sessions"),
    ],
)
def test_a_repeated_or_constant_covariate_is_left_out_with_a_reason(second: Any, reason: str) -> None:
    arms = [(y, np.column_stack([x[:, 0], second(x[:, 0])])) for y, x in draw()]
    adjusted = adjusted_effect(sums(arms), [OWN, OTHER]).effect
    assert adjusted.reason.tolist() == [reason]
    assert adjusted.se_abs == pytest.approx(cuped_effect(sums(arms, [0])).se_abs, rel=1e-12)


def test_users_without_a_history_gain_from_another_metrics_history() -> None:
    arms = [(y, np.column_stack([np.zeros(len(y)), x[:, 1]])) for y, x in draw()]
    adjusted = adjusted_effect(sums(arms), [OWN, OTHER])
    assert adjusted.effect.reason.tolist() == [""]
    assert adjusted.gains["pre"][0] == 0 and adjusted.gains["sessions"][0] > 0.4


def test_a_ratio_takes_more_covariates_too() -> None:
    rng = np.random.default_rng(3)
    records = []
    for n in (3_000, 2_000):
        visits, taste, mood = rng.poisson(3, n) + 1.0, rng.normal(size=n), rng.normal(size=n)
        y = visits * (5 + taste + mood + 0.5 * rng.normal(size=n))
        records.append(SufficientStatistics.from_units(y, d=visits, x=np.column_stack([taste, taste + 0.1, mood])))
    arms = SufficientStatistics.stack(records)
    sources = [Source("pre", (0, 1)), Source("mood", (2,))]
    adjusted, plain = adjusted_effect(arms, sources, ratio=True, with_denominator=arms.n), ratio_effect(arms)
    assert adjusted.gains["mood"][0] > 0.2
    assert (adjusted.effect.se_abs / plain.se_abs)[0] ** 2 == pytest.approx(
        1 - adjusted.effect.variance_reduction[0], rel=1e-3
    )


def stratified(seed: int, sizes: tuple[int, ...], values: int, effect: float = 2.0) -> tuple[Any, ...]:
    """Unit rows with a level of their own in each stratum, and the sums by arm and stratum."""
    rng = np.random.default_rng(seed)
    level = effect * rng.normal(size=values)
    arms, strata = [], []
    for n in sizes:
        stratum, x = rng.integers(0, values, n), rng.normal(size=n)
        y = level[stratum] + x + rng.normal(size=n)
        arms.append((y, x[:, None], stratum))
        strata.append(
            SufficientStatistics.stack(
                [SufficientStatistics.from_units(y[stratum == v], x=x[stratum == v]) for v in range(values)]
            )
        )
    return arms, SufficientStatistics.stack(strata)


def test_strata_are_a_regression_on_their_indicators() -> None:
    rows, strata = stratified(1, (800, 700), 4)
    arms = with_strata(sums([(y, x) for y, x, _ in rows]), strata)
    adjusted = adjusted_effect(arms, [OWN, Source("country", (1, 2, 3, 4))])
    with_dummies = [(y, np.column_stack([x, np.eye(4)[s][:, 1:]])) for y, x, s in rows]
    fit = regression(with_dummies)
    assert adjusted.effect.effect_abs[0] == pytest.approx(fit.params[1] - fit.params[0], rel=1e-9)
    assert adjusted.gains["country"][0] > 0.3
    assert adjusted.effect.reason.tolist() == [""]


def test_a_stratum_needs_twenty_units_in_each_arm() -> None:
    rng = np.random.default_rng(2)
    for short, used in ((MIN_STRATUM, True), (MIN_STRATUM - 1, False)):
        records, strata = [], []
        for few in (short, 300):
            y = np.concatenate([rng.normal(9, 1, few), rng.normal(0, 1, 600)])
            inside = np.arange(len(y)) < few
            records.append(SufficientStatistics.from_units(y, x=np.zeros(len(y))))
            strata.append(SufficientStatistics.stack([SufficientStatistics.from_units(y[inside], x=np.zeros(few))]))
        arms = with_strata(SufficientStatistics.stack(records), SufficientStatistics.stack(strata))
        adjusted = adjusted_effect(arms, [OWN, Source("country", (1,))]).effect
        assert ("covariate_constant:country" not in adjusted.reason[0]) is used
        assert bool(adjusted.variance_reduction[0] > 0.5) is used


def experiments(seed: int, count: int, sizes: tuple[int, ...], values: int, effect: float) -> tuple[Any, Any]:
    """Sums of many experiments, lead (arm, experiment), and by stratum, lead (arm, experiment, stratum)."""
    rng = np.random.default_rng(seed)
    arms, strata = [], []
    for n in sizes:
        x, within = rng.normal(size=(count, n)), np.eye(values)[rng.integers(0, values, (count, n))]
        y = effect * within @ np.linspace(-1, 1, values) + x + rng.normal(size=(count, n))
        groups = [np.ones((count, n, 1)), within]
        for target, g in zip((arms, strata), groups, strict=True):
            part = SufficientStatistics.zeros((count, g.shape[-1]), 1)
            for name, value in (("n", np.ones_like(y)), ("y", y), ("yy", y**2), ("yyy", y**3)):
                getattr(part, name)[...] = np.einsum("en,enk->ek", value, g)
            for name, value in (("x", x), ("xx", x**2), ("xy", x * y)):
                getattr(part, name)[...] = np.einsum("en,enk->ek", value, g).reshape(getattr(part, name).shape)
            target.append(part)
    return SufficientStatistics.stack(arms)[:, :, 0], SufficientStatistics.stack(strata)


@pytest.mark.parametrize("effect", [0.0, 1.0], ids=["strata that say nothing", "strata that say much"])
@pytest.mark.parametrize("sizes", [(200, 200), (500, 200)], ids=str)
def test_false_alarms_stay_at_alpha_with_many_strata_and_few_units(effect: float, sizes: tuple[int, ...]) -> None:
    plain, strata = experiments(1, 1_500, sizes, 6, effect)
    found = adjusted_effect(with_strata(plain, strata), [OWN, Source("country", tuple(range(1, 7)))])
    assert np.isfinite(found.gains["country"]).mean() > (0.95 if effect else 0.0)
    assert 0.035 < np.mean(found.effect.p_value < 0.05) < 0.065
