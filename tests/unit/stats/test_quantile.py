"""Quantiles from the order-free histogram."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from exp_platform.second_opinion.checked_histograms import BIN_SQL
from exp_platform.stats.histogram import Bins, Histogram, bin_of
from exp_platform.stats.quantile import quantile_arm, quantile_effect

RNG = np.random.default_rng(4)
LATENCY = RNG.lognormal(5, 0.8, 6000)


def test_bins_sort_as_values_do_and_keep_their_extremes() -> None:
    extremes = [0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, 1.0, 2.0, 1024.0, -8.0]
    values = np.sort(np.concatenate([LATENCY, -LATENCY, extremes]))
    bins = bin_of(values)
    assert (np.diff(bins) >= 0).all()
    found = Bins.of_values(bins, values)
    for code, low, high in zip(found.code, found.low, found.high, strict=True):
        mine = values[bins == code]
        assert (low, high) == (mine.min(), mine.max())
    assert (found.low[1:] > found.high[:-1]).all()


def test_a_bin_is_narrower_than_three_parts_in_a_thousand() -> None:
    found = Bins.of_values(bin_of(LATENCY), LATENCY)
    assert 1.0 < (found.high / found.low).max() < 1.003


def test_zero_has_a_bin_of_its_own_between_the_signs() -> None:
    assert bin_of(0.0) == bin_of(-0.0) == 0
    assert bin_of(-1e-300) < 0 < bin_of(1e-300)
    zeros = [Bins.of_values(bin_of(v), np.array(v)) for v in ([0.0, -0.0], [-0.0, 0.0])]
    assert [np.signbit(z.low).tolist() + np.signbit(z.high).tolist() for z in zeros] == [[False, False]] * 2


def test_parts_merge_to_the_same_bins_in_any_order() -> None:
    values = np.concatenate([np.round(LATENCY), -LATENCY])
    codes, whole = bin_of(values), Bins.of_values(bin_of(values), values)
    places = RNG.permutation(len(values))
    parts = [Bins.of_values(codes[some], values[some]) for some in np.array_split(places, 5)]
    for merged in (Bins.merged(parts), Bins.merged([parts[3], Bins.merged(parts[:3]), Bins.empty(), parts[4]])):
        for name, column in vars(whole).items():
            assert getattr(merged, name).tolist() == column.tolist()
    assert len(Bins.merged([]).code) == 0


def test_the_sql_formula_is_the_same_function() -> None:
    powers = [float(2**k) for k in range(-20, 20)]
    values = np.concatenate([LATENCY[:500], -LATENCY[:500], [0.0, 1e-300, -1e300], powers])
    query = f"SELECT {BIN_SQL.format(v='v')} FROM (SELECT unnest($values::DOUBLE[]) AS v)"
    rows = duckdb.execute(query, {"values": values.tolist()}).fetchall()
    assert [row[0] for row in rows] == bin_of(values).tolist()


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_estimate_is_within_a_bin_of_the_exact_quantile(q: float, sign: int) -> None:
    arm = quantile_arm(Histogram.from_values(sign * LATENCY, np.arange(6000)), q)
    assert arm.mean == pytest.approx(np.quantile(sign * LATENCY, q), rel=0.003)


def test_the_order_and_split_of_the_rows_do_not_matter() -> None:
    units = np.arange(6000)
    shuffled = RNG.permutation(6000)
    first = quantile_arm(Histogram.from_values(LATENCY, units), 0.9)
    second = quantile_arm(Histogram.from_values(LATENCY[shuffled], units[shuffled]), 0.9)
    assert (first.mean, first.var_mean) == (second.mean, second.var_mean)


def test_the_standard_error_of_unit_values_is_the_textbook_one() -> None:
    """√(q(1 − q)/n) / density, with the density of the lognormal that the values come from."""
    z = 1.2815515655446004
    value = np.exp(5 + 0.8 * z)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / (value * 0.8)
    textbook = np.sqrt(0.9 * 0.1 / 6000) / density
    units = Histogram.from_values(LATENCY, np.arange(6000))
    assert np.sqrt(quantile_arm(units.merged(), 0.9).var_mean) == pytest.approx(textbook, rel=0.1)
    assert np.sqrt(quantile_arm(units, 0.9).var_mean) == pytest.approx(textbook, rel=0.2)


def test_events_that_cluster_in_units_widen_the_interval() -> None:
    level = RNG.normal(0, 1, 500)
    unit = np.repeat(np.arange(500), 40)
    events = np.exp(5 + level[unit] + RNG.normal(0, 0.3, len(unit)))
    histogram = Histogram.from_values(events, unit)
    assert histogram.units == 500
    assert quantile_arm(histogram, 0.5).var_mean > 10 * quantile_arm(histogram.merged(), 0.5).var_mean


def test_events_of_a_single_group_say_nothing_of_how_units_differ() -> None:
    """A segment on the first day has one cohort date: 40 events a unit are not 40 units."""
    events = Histogram.from_values(np.repeat(LATENCY[:500], 40), np.repeat(np.arange(500), 40), groups=1)
    effect = quantile_effect([events, events], 0.5)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", "quantile_out_of_reach")
    assert effect.control_n[0] == 500


def counted(values: np.ndarray) -> Histogram:
    """A value for each unit."""
    return Histogram.from_values(values, np.arange(len(values)))


@pytest.mark.parametrize(("rate", "q"), [(2.674, 0.5), (0.693, 0.5), (0.1054, 0.9), (2.55, 0.5), (5.4, 0.9)])
def test_a_quantile_on_a_step_between_two_counts_does_not_call_the_coin_toss_an_effect(rate: float, q: float) -> None:
    """Half of such A/A experiments differ by the whole step; half of them were significant."""
    rng, hits = np.random.default_rng(5), []
    for _ in range(120):
        arms = [counted(rng.poisson(rate, 1500).astype(float)) for _ in range(2)]
        effect = quantile_effect(arms, q)
        hits.append(effect.ok[0] and effect.p_value[0] < 0.05)
    assert np.mean(hits) <= 0.06


def test_a_count_whose_median_moves_by_a_whole_step_is_still_found() -> None:
    counts = np.arange(1500) % 5 + 0.0  # a fifth each of 0 to 4
    effect = quantile_effect([counted(v) for v in (counts, counts + 1)], 0.5)
    assert effect.effect_abs[0] == 1.0
    assert effect.p_value[0] < 1e-6


def test_a_median_of_three_orders_that_becomes_four_is_exactly_that() -> None:
    """It was shown as 2.997 and 4.004, with an interval of 0.003 that did not hold the truth."""
    rng = np.random.default_rng(1)
    effect = quantile_effect([counted(rng.poisson(rate, 1500).astype(float)) for rate in (3, 4)], 0.5)
    assert (effect.control_mean[0], effect.treatment_mean[0], effect.effect_abs[0]) == (3.0, 4.0, 1.0)
    assert 0.1 < effect.effect_abs_ci_high[0] - effect.effect_abs[0] < 1
    assert effect.p_value[0] < 0.001


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_whole_milliseconds_are_exact(q: float) -> None:
    values = np.round(LATENCY[LATENCY < 370])
    assert quantile_arm(counted(values), q).mean == np.quantile(values, q, method="inverted_cdf")


def test_beside_a_step_the_interval_covers_both_values() -> None:
    """Just short of half of the units have at most 2: the estimate is 3, and 2 is as likely."""
    for low in (748, 752):
        values = np.repeat([1.0, 2.0, 3.0, 4.0], [300, low - 300, 1200 - low, 300])
        rng = np.random.default_rng(2)
        arm = quantile_arm(counted(rng.permutation(values)), 0.5)
        half = 1.97 * np.sqrt(arm.var_mean)
        assert arm.mean == (3.0 if low == 748 else 2.0)
        assert arm.mean - half <= 2.0 and arm.mean + half >= 3.0


def test_the_error_of_a_pinned_quantile_falls_with_its_distance_from_the_next_step() -> None:
    errors = []
    for low in (749, 730, 712, 700, 600, 400):
        values = np.repeat([2.0, 3.0], [low, 1500 - low])
        errors.append(np.sqrt(quantile_arm(counted(np.random.default_rng(2).permutation(values)), 0.5).var_mean))
    assert errors[0] == pytest.approx(1 / 1.97, rel=0.01)
    assert (np.diff(errors) <= 1e-12).all() and 0 < errors[-1] < 0.05


def test_the_side_that_faces_the_other_arm_counts_beside_a_share_of_zeros() -> None:
    """The 95th percentile of values that are 0 for 94%: an arm at 0 could be far above it and not below."""
    rng = np.random.default_rng(6)
    arms = [np.where(np.arange(1500) < zeros, 0.0, rng.lognormal(3, 1, 1500)) for zeros in (1427, 1410)]
    control, treatment = (quantile_arm(counted(v), 0.95) for v in arms)
    assert control.mean == 0.0 < treatment.mean
    effect = quantile_effect([counted(v) for v in arms], 0.95)
    assert effect.se_abs[0] ** 2 > 1.5 * (control.var_mean + treatment.var_mean)


def test_two_arms_beside_the_same_step_may_each_be_on_its_wrong_side() -> None:
    """Both medians are 2 or 3; control shows 3 and treatment 2, where the truth may be 2 and 3."""
    values = [np.repeat([1.0, 2.0, 3.0, 4.0], [300, low - 300, 1200 - low, 300]) for low in (748, 752)]
    rng = np.random.default_rng(2)
    effect = quantile_effect([counted(rng.permutation(v)) for v in values], 0.5)
    assert effect.effect_abs[0] == -1.0
    assert effect.effect_abs_ci_low[0] < -1.0 and effect.effect_abs_ci_high[0] >= 1.0


def test_errors_of_chance_cancel_where_an_arm_is_far_from_its_steps() -> None:
    rng = np.random.default_rng(2)
    beside = np.repeat([1.0, 2.0, 3.0, 4.0], [300, 448, 452, 300])
    far = np.repeat([4.0, 5.0, 6.0], [300, 900, 300])
    effect = quantile_effect([counted(rng.permutation(v)) for v in (beside, far)], 0.5)
    assert effect.effect_abs[0] == 2.0
    assert 1.0 <= effect.effect_abs_ci_high[0] - effect.effect_abs[0] < 1.1


def test_the_interval_of_values_that_repeat_makes_room_for_their_rounding() -> None:
    exact = np.random.default_rng(7).normal(200, 14, 1500)
    smooth, rounded = (np.sqrt(quantile_arm(counted(v), 0.5).var_mean) for v in (exact, np.round(exact)))
    assert rounded * 1.97 - smooth * 1.97 == pytest.approx(0.5, abs=0.35)


def test_a_shift_is_found_with_its_sign_and_size() -> None:
    slower = Histogram.from_values(LATENCY * 1.2, np.arange(6000))
    effect = quantile_effect([Histogram.from_values(LATENCY, np.arange(6000)), slower], 0.9)
    assert effect.status[0] == "ok"
    assert effect.effect_rel[0] == pytest.approx(0.2, abs=0.005)
    assert effect.p_value[0] < 0.01


@pytest.mark.parametrize(
    ("values", "q", "reason"),
    [
        (np.zeros(0), 0.5, "arm_below_min_units"),
        (np.full(300, 7.0), 0.5, "no_variance"),
        (np.zeros(300), 0.5, "no_variance"),
        (LATENCY[:150], 0.999, "quantile_out_of_reach"),
    ],
    ids=["no values", "one value only", "all zero", "too few values beyond the quantile"],
)
def test_values_without_an_answer_are_insufficient_and_say_why(values: np.ndarray, q: float, reason: str) -> None:
    histogram = Histogram.from_values(values, np.arange(len(values)))
    effect = quantile_effect([histogram.merged(), histogram.merged()], q)
    assert (effect.status[0], effect.reason[0]) == ("insufficient_data", reason)
    assert effect.as_columns()["effect_abs"] == [None]
