"""Our answers against tea-tasting on the same aggregates, computed in the test; each arm has its own error there."""

from __future__ import annotations

import numpy as np
import pytest
import tea_tasting as tt
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics.mean import MeanResult

from exp_platform.stats.ab import against_control, mean_arm
from exp_platform.stats.cuped import adjusted_arm
from exp_platform.stats.effect import Effect, compare, satterthwaite, t_quantile
from exp_platform.stats.moments import linearise
from exp_platform.stats.multiplicity import benjamini_hochberg, holm
from exp_platform.stats.ratio import ratio_arm
from exp_platform.stats.sufficient import SufficientStatistics

TOLERANCE = 1e-9
Rows = dict[str, np.ndarray]


def unit_rows(seed: int, n: int, lift: float) -> Rows:
    """Units of one arm: y and its denominator d, and the same two before the experiment."""
    rng = np.random.default_rng(seed)
    level = rng.gamma(3.0, 1.0, n)
    return {
        "y": level * rng.gamma(2.0, 1.0 + lift, n),
        "d": 1.0 + rng.poisson(2 + level),
        "x": level * rng.gamma(2.0, 1.0, n),
        "xd": 1.0 + rng.poisson(2 + level),
    }


ROWS = [unit_rows(1, 1500, 0.0), unit_rows(2, 1700, 0.08)]
COLUMNS = list(ROWS[0])


def aggregates(rows: Rows) -> Aggregates:
    return Aggregates(
        count_=len(rows["y"]),
        mean_={c: float(rows[c].mean()) for c in COLUMNS},
        var_={c: float(rows[c].var(ddof=1)) for c in COLUMNS},
        cov_={(a, b): float(np.cov(rows[a], rows[b])[0, 1]) for a in COLUMNS for b in COLUMNS if a < b},
    )


def statistics(covariates: list[str]) -> SufficientStatistics:
    return SufficientStatistics.stack(
        [
            SufficientStatistics.from_units(r["y"], d=r["d"], x=np.stack([r[c] for c in covariates], axis=1))
            for r in ROWS
        ]
    )


def their_answer(metric: tt.Mean | tt.RatioOfMeans) -> MeanResult:
    return metric.analyze_aggregates(*(aggregates(rows) for rows in ROWS))


def assert_agrees(effect: Effect, theirs: MeanResult) -> None:
    ours = [
        effect.control_mean[0],
        effect.treatment_mean[0],
        effect.effect_abs[0],
        effect.effect_abs_ci_low[0],
        effect.effect_abs_ci_high[0],
        effect.effect_rel[0],
        effect.p_value[0],
    ]
    assert ours == pytest.approx(
        [
            theirs.control,
            theirs.treatment,
            theirs.effect_size,
            theirs.effect_size_ci_lower,
            theirs.effect_size_ci_upper,
            theirs.rel_effect_size,
            theirs.pvalue,
        ],
        rel=TOLERANCE,
    )


def test_a_difference_of_means_agrees() -> None:
    assert_agrees(against_control(mean_arm(statistics(["x"]))), their_answer(tt.Mean("y")))


def test_a_ratio_agrees() -> None:
    arms = statistics(["x"])
    assert_agrees(against_control(ratio_arm(arms, arms.n)), their_answer(tt.RatioOfMeans("y", "d")))


def test_their_relative_interval_is_ours_on_the_log_scale() -> None:
    """tea-tasting's relative interval is exp of one of log(treatment / control); ours is Fieller's."""
    effect, theirs = against_control(mean_arm(statistics(["x"]))), their_answer(tt.Mean("y"))
    parts = [
        (sd / mean) ** 2 / n
        for sd, mean, n in (
            (effect.control_sd, effect.control_mean, effect.control_n),
            (effect.treatment_sd, effect.treatment_mean, effect.treatment_n),
        )
    ]
    half = t_quantile(0.975, satterthwaite(parts, (effect.control_n - 1, effect.treatment_n - 1))) * np.sqrt(sum(parts))
    log_ratio = np.log1p(effect.effect_rel)
    assert np.expm1(log_ratio - half)[0] == pytest.approx(theirs.rel_effect_size_ci_lower, rel=TOLERANCE)
    assert np.expm1(log_ratio + half)[0] == pytest.approx(theirs.rel_effect_size_ci_upper, rel=TOLERANCE)


def test_cuped_of_a_mean_agrees_with_their_theta() -> None:
    """tea-tasting takes theta from both arms together, with the gap between them; ours is centred in each arm."""
    y, x = (np.concatenate([rows[c] for rows in ROWS]) for c in ("y", "x"))
    theta = np.cov(y, x)[0, 1] / x.var(ddof=1)
    arm = adjusted_arm(linearise(statistics(["x"])), np.array([theta]))
    assert_agrees(compare(arm[:1], arm[1:]), their_answer(tt.Mean("y", "x")))


def test_cuped_of_a_ratio_agrees_with_their_theta_and_a_mean_as_covariate() -> None:
    """Their covariate of a ratio is itself a ratio; ours are its numerator and denominator. A plain mean is common."""
    both = {c: np.concatenate([rows[c] for rows in ROWS]) for c in COLUMNS}
    ratio = both["y"].mean() / both["d"].mean()
    linear = (both["y"] - ratio * both["d"]) / both["d"].mean()
    theta = np.cov(linear, both["x"])[0, 1] / both["x"].var(ddof=1)
    arm = adjusted_arm(linearise(statistics(["x"]), ratio=True), np.array([theta]))
    assert_agrees(compare(arm[:1], arm[1:]), their_answer(tt.RatioOfMeans("y", "d", "x")))


def test_adjusted_p_values_agree() -> None:
    p_values = [0.001, 0.04, 0.03, 0.2, 0.9]
    results = {i: {"m": MeanResult(*[0.0] * 8, pvalue=p, statistic=0.0)} for i, p in enumerate(p_values)}
    results = {key: tt.experiment.ExperimentResult(value) for key, value in results.items()}
    family = {(0, key): value for key, value in results.items()}
    for theirs, ours in (
        (tt.adjust_fdr(family, arbitrary_dependence=False), benjamini_hochberg(p_values)),
        (tt.adjust_fwer(family, arbitrary_dependence=True, method="bonferroni"), holm(p_values)),
    ):
        adjusted = [row["pvalue_adj"] for row in theirs.to_dicts()]
        assert adjusted == pytest.approx(list(ours), rel=TOLERANCE)
