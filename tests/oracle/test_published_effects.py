"""Cases that other projects publish in their own tests: their inputs, their expected numbers, our answers.

Named as project + test. Where a convention differs the test converts, and says what differs. All of them take each
arm's own error and, on the relative scale, the delta method: so do `sums` and `relative`.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exp_platform.stats.ab import against_control, mean_arm, mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.multiplicity import benjamini_hochberg, holm
from exp_platform.stats.power import power_of, required_units
from exp_platform.stats.sequential import always_valid_p, half_width, tuning
from exp_platform.stats.sufficient import SufficientStatistics

FIVE_DIGITS = 0.51e-5  # theirs are rounded to five decimals
GB_CONTROL, GB_TREATMENT = (3000, 1396.87, 52377.9767), (3461, 2422.7, 134698.29)
GB_PLANNED = 5000  # gbstats' default tuning parameter


def record(n: float, y: float, yy: float, **others: object) -> SufficientStatistics:
    """One arm by its sums; `x` (a vector) sets the number of covariates."""
    empty = vars(SufficientStatistics.zeros(k=np.size(others.get("x", ()))))
    values = {**empty, "n": n, "y": y, "yy": yy, **others}
    return SufficientStatistics(**{name: np.asarray(value, dtype=float) for name, value in values.items()})


def arms(*records: SufficientStatistics) -> SufficientStatistics:
    return SufficientStatistics.stack(records)


def sums(control: tuple[float, ...], treatment: tuple[float, ...], **options: object) -> Effect:
    return against_control(mean_arm(arms(record(*control), record(*treatment))), **options)


def relative(effect: Effect, planned: int | None = None, alpha: float = 0.05) -> list[float]:
    """Estimate, standard error, interval and p on the relative scale; `planned` users make it a sequential test."""
    value, se = effect.effect_abs[0] / effect.control_mean[0], delta_error(effect)
    if planned is None:
        half = stats.t.ppf(1 - alpha / 2, effect.df[0]) * se
        p_value = 2 * stats.t.sf(abs(value / se), effect.df[0])
    else:
        n, rho2 = effect.control_n[0] + effect.treatment_n[0], tuning(alpha, planned)
        half, p_value = half_width(n, rho2, alpha) * se, always_valid_p(value / se, n, rho2)
    return [float(v) for v in (value, se, value - half, value + half, p_value)]


def delta_error(effect: Effect) -> float:
    """Standard error of the ratio of the two means, written out apart from the engine."""
    base, change = effect.control_mean[0], effect.treatment_mean[0] / effect.control_mean[0]
    own = [
        sd[0] ** 2 / n[0]
        for sd, n in ((effect.control_sd, effect.control_n), (effect.treatment_sd, effect.treatment_n))
    ]
    return float(np.sqrt(own[1] + change**2 * own[0]) / abs(base))


def test_growthbook_two_sided_ttest_on_both_scales() -> None:
    """GrowthBook gbstats: TestTwoSidedTTest.test_two_sided_ttest and test_two_sided_ttest_absolute."""
    effect = sums((3407, 1396.87, 52377.9767), GB_TREATMENT)
    assert relative(effect) == pytest.approx([0.70732, 0.37879, -0.03526, 1.44989, 0.06191], abs=FIVE_DIGITS)
    absolute = [effect.effect_abs, effect.se_abs, effect.effect_abs_ci_low, effect.effect_abs_ci_high, effect.p_value]
    assert [float(v[0]) for v in absolute] == pytest.approx([0.29, 0.12478, 0.04538, 0.53462, 0.02016], abs=FIVE_DIGITS)


def test_growthbook_one_sided_ttest_is_half_of_ours() -> None:
    """GrowthBook gbstats: TestOneSidedGreaterTTest, both tests; the one-sided 95% bound is our 90% interval's end."""
    effect = sums(GB_CONTROL, GB_TREATMENT, alpha=0.10)
    _, _, low, _, p_value = relative(effect, alpha=0.10)
    theirs = [-0.045136675850396046, 0.06558262868467746, 0.020791480063255735, 0.03554272489873023]
    found = [low, p_value / 2, float(effect.effect_abs_ci_low[0]), float(effect.p_value[0] / 2)]
    assert found == pytest.approx(theirs, rel=1e-9)


def test_growthbook_sequential_test() -> None:
    """GrowthBook gbstats: TestSequentialTTest.test_sequential_test_runs."""
    assert relative(sums(GB_CONTROL, GB_TREATMENT), planned=1000) == pytest.approx(
        [0.50336, 0.33341, -0.55844, 1.56516, 1.0], abs=FIVE_DIGITS
    )


def binomial(events: float, n: float) -> tuple[float, float, float]:
    """Sums whose sample variance (n − 1) is the p(1 − p) that gbstats takes for a proportion."""
    p = events / n
    return n, events, n * p**2 + (n - 1) * p * (1 - p)


@pytest.mark.parametrize(
    ("control", "treatment", "planned", "theirs"),
    [
        ((14, 28), (16, 30), None, [0.06667, 0.2717, -0.47767, 0.61101, 0.80707]),
        ((1396, 3000), (2422, 3461), GB_PLANNED, [0.50386, 0.03386, 0.40098, 0.60675, 0.0]),
    ],
)
def test_growthbook_proportions_once_the_variance_is_theirs(
    control: tuple[float, float], treatment: tuple[float, float], planned: int | None, theirs: list[float]
) -> None:
    """GrowthBook gbstats: test_two_sided_ttest_binom, test_sequential_test_runs_prop. Ours has n/(n − 1) more."""
    effect = sums(binomial(*control), binomial(*treatment), min_units=2)
    assert relative(effect, planned) == pytest.approx(theirs, abs=FIVE_DIGITS)


def test_growthbook_an_impossible_variance_is_no_answer() -> None:
    """GrowthBook gbstats: test_two_sided_ttest_missing_variance (two units whose squares do not fit their sum)."""
    effect = sums((2, 1396.87, 52377.9767), GB_TREATMENT, min_units=2)
    # A negative sum of squares counts as 0: the arm is constant, and the other arm still has its variance.
    assert effect.control_sd[0] == 0.0
    assert sums((2, 1396.87, 52377.9767), GB_TREATMENT).status[0] == "insufficient_data"


def test_growthbook_cuped_of_a_mean() -> None:
    """GrowthBook gbstats: test_sequential_test_runs_ra; they divide by control's unadjusted mean, we by adjusted."""
    pre = ([16.87], [[527.9767]]), ([22.7], [[1348.29]])
    records = [record(*y, x=x, xx=xx, xy=[1.0]) for y, (x, xx) in zip((GB_CONTROL, GB_TREATMENT), pre, strict=True)]
    effect = cuped_effect(arms(*records))
    mean_c, mean_t = GB_CONTROL[1] / 3000, GB_TREATMENT[1] / 3461
    var_c, var_t = effect.control_sd[0] ** 2 / 3000, effect.treatment_sd[0] ** 2 / 3461
    se = np.sqrt(var_t / mean_c**2 + var_c * mean_t**2 / mean_c**4)
    assert [effect.effect_abs[0] / mean_c, se] == pytest.approx([0.50338, 0.33341], abs=FIVE_DIGITS)


RATIO_ARMS = (
    {
        "post": (485.112236689623, 2715.484666118136, 679.9093275844917, 4939.424001640236, 3602.146836776702),
        "pre": (192.59138069991536, 460.076026390857, 290.1398399750233, 920.9461385038898, 634.239482353647),
        "cross": (1113.6215759318352, 1559.2878434944676, 1460.3181079276983, 2130.9404074446747),
    },
    {
        "post": (514.7757826608777, 2994.897482705013, 705.4090874383759, 5291.36604146392, 3918.1561431600717),
        "pre": (206.94157227402536, 514.2903702246757, 302.54389139107326, 994.4506208125663, 698.4173425817908),
        "cross": (1237.0953021125997, 1701.0287270040265, 1604.0759503266522, 2292.081739775257),
    },
)


def with_ratio_as_covariate(case: dict[str, tuple[float, ...]], n: float = 100) -> SufficientStatistics:
    """One covariate: the pre-period ratio linearised in the arm, r + (m − r d) / mean(d), as gbstats has it."""
    (m, mm, d, dd, md), (y, yy, e, ee, ye) = case["pre"], case["post"]
    ym, yd, em, ed = case["cross"]  # numerator and denominator after, each with the two before
    r, scale = m / d, d / n
    xx = (mm - 2 * r * md + r**2 * dd) / scale**2 + n * r**2
    xy, xe = r * y + (ym - r * yd) / scale, r * e + (em - r * ed) / scale
    return record(n, y, yy, d=e, dd=ee, yd=ye, x=[n * r], xx=[[xx]], xy=[xy], dx=[xe])


def test_growthbook_cuped_of_a_ratio_whose_covariate_is_itself_a_ratio() -> None:
    """GrowthBook gbstats: test_two_sided_ttest_test_runs_ratio_ra. Our covariates are numerator and denominator."""
    both = arms(*(with_ratio_as_covariate(case) for case in RATIO_ARMS))
    effect = cuped_effect(both, ratio=True, with_denominator=both.n)  # every unit counts as one with a denominator
    base = both.y[0] / both.d[0]  # they divide by control's unadjusted ratio
    change = effect.effect_abs[0] / base
    var_c, var_t = effect.control_sd[0] ** 2 / 100, effect.treatment_sd[0] ** 2 / 100
    se = np.sqrt(var_t + var_c * (1 + change) ** 2) / base
    half = stats.t.ppf(0.975, effect.df[0]) * se
    p_value = 2 * stats.t.sf(abs(change / se), effect.df[0])
    assert [change, se, change - half, change + half] == pytest.approx(
        [-0.0007, 0.00391, -0.00841, 0.00700], abs=FIVE_DIGITS
    )
    assert p_value == pytest.approx(
        0.85771, abs=5e-5
    )  # their error of the base differs in a term as small as the effect


def test_with_numerator_and_denominator_as_covariates_that_ratio_has_a_smaller_error() -> None:
    """Two covariates contain the one: on the same arms the adjusted variance can only fall."""
    records = []
    for case in RATIO_ARMS:
        (m, mm, d, dd, md), (y, yy, e, ee, ye), (ym, yd, em, ed) = case["pre"], case["post"], case["cross"]
        xx = [[mm, md], [md, dd]]
        records.append(record(100, y, yy, d=e, dd=ee, yd=ye, x=[m, d], xx=xx, xy=[ym, yd], dx=[em, ed]))
    two = cuped_effect(arms(*records), ratio=True)
    one = cuped_effect(arms(*(with_ratio_as_covariate(case) for case in RATIO_ARMS)), ratio=True)
    assert two.se_abs[0] < one.se_abs[0] < 0.2 * mean_effect(arms(*records)).se_abs[0]


@pytest.mark.parametrize(
    ("control", "treatment", "theirs"),
    [
        ((104, 312, 984), (1009, 1969, 5767), (-1.0485629, -1.205402, -0.891723, 0.0)),
        ((10, 24, 80), (150, 330, 1010), (-0.2, -1.283253, 0.883253, 0.689599)),
        ((22, 8, 12), (1010, 500, 2500), (0.131413, -0.166276, 0.429102, 0.372650)),
        ((48351, 1.438602e06, 7.330581e07), (50571, 1.521974e06, 7.862121e07), (0.34248, 0.02718, 0.65779, 0.03326)),
    ],
)
def test_spotify_students_ttest_once_the_variance_is_divided_by_n(
    control: tuple[float, ...], treatment: tuple[float, ...], theirs: tuple[float, ...]
) -> None:
    """spotify/confidence test_ttest.py: TestCategorical.test_difference, TestOrdinal.test_difference and
    test_p_value_is_symmetric_and_correct (whose p they give as 0.0333). Their variance has n where ours has n − 1."""

    def scaled(n: float, y: float, yy: float) -> tuple[float, ...]:
        return n, y, y**2 / n + (yy - y**2 / n) * (n - 1) / n

    effect = sums(scaled(*control), scaled(*treatment), min_units=2)
    found = [effect.effect_abs, effect.effect_abs_ci_low, effect.effect_abs_ci_high, effect.p_value]
    assert [float(v[0]) for v in found] == pytest.approx(theirs, abs=FIVE_DIGITS)


def test_spotify_achieved_power() -> None:
    """spotify/confidence test_ttest.py: TestCategorical.test_achieved_power, from G*Power, to their 0.5%."""
    effect = sums((1502, 2955, 8771), (1009, 1969, 5767))
    assert power_of(0.2, effect.se_abs[0], effect.df[0]) == pytest.approx(0.9409124, rel=0.005)


def test_mozanalysis_one_branch_interval_and_uplift() -> None:
    """mozilla/mozanalysis: test_summarize_one_branch and UnitTestModel, branches 0..99 and 100..199."""
    units = np.arange(100.0)
    effect = mean_effect(arms(SufficientStatistics.from_units(units), SufficientStatistics.from_units(units + 100)))
    half = stats.t.ppf(0.975, 99) * effect.control_sd[0] / 10
    interval = [effect.control_mean[0] - half, effect.control_mean[0] + half]
    assert interval == pytest.approx([43.74349, 55.25650], abs=1e-5)
    assert [effect.effect_abs[0], effect.effect_rel[0]] == pytest.approx([100.0, 100 / 49.5])


@pytest.mark.parametrize(
    ("treatment", "t", "p_value"),
    [((1, 2, 3), -0.68649512735572582, 0.53619490753126731), ((1, 2, 3, 4), -0.2108663315950719, 0.84354139131608286)],
)
def test_statsmodels_unequal_variances_from_r(treatment: tuple[float, ...], t: float, p_value: float) -> None:
    """statsmodels: test_ttest_ind_with_uneq_var, whose numbers are R's t.test."""
    units = [SufficientStatistics.from_units(v) for v in ((1.1, 2.9, 4.2), treatment)]
    effect = mean_effect(arms(*units), min_units=2)
    assert [effect.effect_abs[0] / effect.se_abs[0], effect.p_value[0]] == pytest.approx([t, p_value], rel=1e-12)


def test_statsmodels_multiplicity_from_r() -> None:
    """statsmodels: TestMultiTests1, whose numbers are R's multtest (columns Holm and BH)."""
    p_values = [
        *(0.838541367553, 0.642193923795, 0.680845947633, 0.967833824309, 0.71626938238),
        *(0.177096952723, 5.23656777208e-05, 0.0202732688798, 0.00028140506198, 0.0149877310796),
    ]
    theirs_holm = [5.23656777208e-04, 2.53264555782e-03, 1.199018486368e-01, 1.419128821586e-01, *[1.0] * 6]
    theirs_bh = [
        *(5.23656777208e-04, 1.4070253099e-03, 4.9959103598666670e-02, 5.06831721995e-02, 3.5419390544599999e-01),
        *(8.9533672797500008e-01, 8.9533672797500008e-01, 8.9533672797500008e-01),
        *(9.3171263061444454e-01, 9.67833824309e-01),
    ]
    assert sorted(holm(p_values)) == pytest.approx(theirs_holm, rel=1e-9)
    assert sorted(benjamini_hochberg(p_values)) == pytest.approx(theirs_bh, rel=1e-9)


def test_r_power_t_test() -> None:
    """R, example(power.t.test): delta = 1, sd = 1, power 0.90 needs n = 22.02110 in each group."""
    assert required_units(1.0, 1.0, power=0.90) == 23
    assert power_of(1.0, np.sqrt(2 / 22.02110), 2 * 22.02110 - 2) == pytest.approx(0.90, abs=1e-5)
