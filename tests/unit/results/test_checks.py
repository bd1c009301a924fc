"""J7: the checks on hand-made statistics, healthy and broken one at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from tests import hand_made as hm

from exp_platform.results.analysis import analyze
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.frame import to_table
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.validation import validate

PANEL = "gold.fct_experiment_panel_statistics"


def inputs(plan: AnalysisPlan, *pairs, panel: pa.Table | None = None, **changes: object) -> CheckInputs:
    statistics = hm.statistics(list(pairs))
    answer = analyze(statistics, panel if panel is not None else hm.empty(PANEL), plan)
    run = {"experiment_id": "exp_test", "dt": plan.dt, "run_id": "r", "code_version": "v", "computed_at": plan.cutoff}
    results = to_table("exp.analysis_results", answer.results, run | {"input_snapshots": "{}", "config_hash": "c"})
    tests = to_table("exp.did_pretrend_tests", answer.tests, run).to_pylist()
    axes = read_axes(statistics, plan.arms)
    found = CheckInputs(
        plan=plan,
        statistics=statistics,
        cubes=cubes(statistics, plan.metrics, axes),
        axes=axes,
        assigned=hm.assigned(pairs[0][1]),
        deciding=deciding_rows(results),
        pretrends=tests,
    )
    return replace(found, **changes)


def checks(given: CheckInputs, name: str, **where: str) -> list[dict]:
    rows = [row for row in validate(given) if row["check_name"] == name]
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def statuses(given: CheckInputs) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in validate(given):
        found.setdefault(row["check_name"], set()).add(row["status"])
    return found


def drop(units: hm.Units, where: np.ndarray) -> hm.Units:
    """Without some of the units."""
    keep = ~where
    return hm.Units(**{name: None if v is None else v[keep] for name, v in vars(units).items()})


METRIC = hm.metric("revenue")


def test_healthy_data_passes_every_check():
    metrics = [METRIC, hm.metric("conversion", "binary"), hm.metric("share", "ratio")]
    plan = hm.plan(metrics)
    given = inputs(
        plan,
        (metrics[0], hm.draw_units(1, 3000)),
        (metrics[1], hm.draw_units(2, 3000, kind="binary", base=0.2)),
        (metrics[2], hm.draw_units(3, 3000, kind="ratio")),
    )
    assert {name for name, words in statuses(given).items() if words != {"ok"}} == set()


def test_every_row_fits_the_grain_and_holds_no_number_that_is_not_finite():
    plan = hm.plan([METRIC])
    rows = validate(inputs(plan, (METRIC, hm.draw_units(1, 500))))
    keys = {(r["check_name"], r["metric_name"], r["variant_id"], r["segment"]) for r in rows}
    assert len(keys) == len(rows)
    numbers = [row[name] for row in rows for name in ("statistic", "p_value", "observed", "expected", "threshold")]
    assert all(value is None or np.isfinite(value) for value in numbers)


def test_a_lost_tenth_of_an_arm_fails_both_sample_ratio_gates_and_the_day_is_found():
    plan, units = hm.plan([METRIC]), hm.draw_units(4, 6000)
    bad_day = hm.FIRST_DAY + timedelta(days=3)
    units = drop(units, (units.day == bad_day) & (units.arm == "treatment"))
    given = inputs(plan, (METRIC, units))
    for gate in ("srm_assigned", "srm_analysed"):
        (row,) = checks(given, gate)
        assert row["status"] == "fail" and row["p_value"] < 0.001
        assert row["observed"] != row["expected"]
    located = {row["segment"] for row in checks(given, "srm_by_day") if row["status"] == "warn"}
    assert located == {f"date={bad_day}"}
    assert {row["status"] for row in checks(given, "srm_fixed_assigned")} == {"ok"}  # reported, never a gate


def test_only_the_cohort_can_be_out_of_balance():
    plan, units = hm.plan([METRIC]), hm.draw_units(5, 6000)
    everyone = hm.assigned(units)
    lost = (units.arm == "treatment") & (np.arange(len(units.arm)) % 6 == 0)
    given = inputs(plan, (METRIC, drop(units, lost)), assigned=everyone)
    assert [row["status"] for row in checks(given, "srm_assigned")] == ["ok"]
    assert [row["status"] for row in checks(given, "srm_analysed")] == ["fail"]


@pytest.mark.parametrize(
    ("kept", "days", "status"),
    [(0.80, 34, "ok"), (0.80, 35, "fail"), (0.84, 35, "warn"), (0.95, 35, "ok")],
    ids=["before the planned end", "at it", "p of about 0.003", "p of about 0.3"],
)
def test_the_chi_square_gates_at_the_planned_end_and_doubts_up_to_one_percent(kept: float, days: int, status: str):
    """A window of a week after four weeks: the planned end is day 35."""
    plan, units = hm.plan([METRIC], days=days), hm.draw_units(4, 600)
    place = np.cumsum(units.arm == "treatment") / 600
    given = inputs(plan, (METRIC, drop(units, (units.arm == "treatment") & (place > kept))))
    assert {row["status"] for name in ("assigned", "analysed") for row in checks(given, f"srm_fixed_{name}")} == {
        status
    }


def test_a_rollout_promises_no_ratio_and_none_is_asked_of_it():
    plan, units = hm.plan([METRIC], design="rollout"), hm.draw_units(6, 3000)
    given = inputs(plan, (METRIC, drop(units, (units.arm == "treatment") & (np.arange(6000) % 3 == 0))))
    assert [row["check_name"] for row in validate(given) if row["check_name"].startswith("srm_")] == []


def test_arms_that_differ_before_the_experiment_fail_the_a_a():
    plan, units = hm.plan([METRIC]), hm.draw_units(7, 2000)
    units.pre = units.pre + np.where(units.arm == "treatment", 0.3, 0.0)
    (row,) = checks(inputs(plan, (METRIC, units)), "aa_pre_period")
    assert row["status"] == "fail" and row["p_value"] < 0.001
    assert checks(inputs(hm.plan([METRIC], design="rollout"), (METRIC, units)), "aa_pre_period") == []


def test_an_experiment_that_changes_who_has_a_value_warns_for_metrics_that_leave_units_out():
    spend, most = hm.metric("spend"), hm.metric("most", "mean", aggregation="max")
    spend = hm.metric("spend", "sum")
    plan, units = hm.plan([spend, most]), hm.draw_units(8, 2000)
    rng = np.random.default_rng(0)
    missing = rng.random(4000) < np.where(units.arm == "treatment", 0.5, 0.4)
    units.y = np.where(missing, np.nan, units.y)
    given = inputs(plan, (spend, units), (most, units))
    (row,) = checks(given, "share_with_value")
    assert (row["metric_name"], row["status"]) == ("most", "warn")
    assert row["observed"] == pytest.approx(0.5, abs=0.05) and row["expected"] == pytest.approx(0.6, abs=0.05)


def test_a_moved_mean_denominator_warns_for_a_ratio():
    metric = hm.metric("share", "ratio")
    plan, units = hm.plan([metric]), hm.draw_units(9, 3000, kind="ratio")
    units.d = units.d + (units.arm == "treatment")
    (row,) = checks(inputs(plan, (metric, units)), "share_with_value")
    assert row["status"] == "warn" and row["detail"] == "mean denominator"


def test_a_few_bots_are_seen_as_skewness_and_as_outliers():
    plan, units = hm.plan([METRIC]), hm.draw_units(10, 3000)
    units.y[:2] = 5000.0
    given = inputs(plan, (METRIC, units))
    for name in ("skewness", "outliers"):
        assert {row["variant_id"] for row in checks(given, name) if row["status"] == "warn"} == {"control"}


def test_cohort_dates_of_a_few_units_say_nothing_of_novelty():
    """With five units in an arm a hundredth of healthy experiments fell below 0.001: their errors are chance."""
    spend = hm.metric("spend", "sum")
    plan = hm.plan([spend])
    few, enough = hm.draw_units(12, 5 * 14), hm.draw_units(12, 60 * 14)
    assert checks(inputs(plan, (spend, few)), "novelty") == []
    assert [row["status"] for row in checks(inputs(plan, (spend, enough)), "novelty")] == ["ok"]


def test_an_effect_far_outside_the_metrics_history_warns():
    plan = hm.plan([METRIC], days=35)
    units = hm.draw_units(11, 2000, days=28, effects={"treatment": 2.0})  # +20%
    usual = {"revenue": [0.01, -0.02, 0.015, 0.03, -0.01]}
    (row,) = checks(inputs(plan, (METRIC, units), history=usual), "twyman")
    assert row["status"] == "warn" and row["threshold"] == pytest.approx(0.06)
    wild = {"revenue": [0.3, -0.2, 0.15, 0.03, -0.01]}
    assert [r["status"] for r in checks(inputs(plan, (METRIC, units), history=wild), "twyman")] == ["ok"]


def test_an_effect_that_fades_with_the_days_since_exposure_warns():
    metric = hm.metric("visits", "sum", window=hm.Window(end_hours=14 * 24))
    plan, units = hm.plan([metric]), hm.draw_units(12, 8000)
    age = np.array([(plan.cutoff.date() - day).days - 0.5 for day in units.day])
    noise = units.y - units.y.mean()
    for fading, status in ((False, "ok"), (True, "warn")):
        gain = np.minimum(age, 3) * 2.0 if fading else age * 0.5  # all in the first three days, or every day
        units.y = 10 * age + noise + np.where(units.arm == "treatment", gain, 0.0)
        (row,) = checks(inputs(plan, (metric, units)), "novelty")
        assert row["status"] == status
    assert row["statistic"] < 0 and row["observed"] < row["expected"]


def test_the_plan_says_how_many_more_days_the_planned_units_take():
    plan = hm.plan([METRIC], planned_users=10_000)
    (row,) = checks(inputs(plan, (METRIC, hm.draw_units(13, 2500))), "planned_users")
    assert (row["observed"], row["expected"], row["statistic"]) == (5000, 10_000, 14)


def test_the_plan_is_compared_with_assigned_users_and_not_with_the_analysed_ones():
    plan, units = hm.plan([METRIC], planned_users=6000), hm.draw_units(13, 2500)
    given = inputs(plan, (METRIC, units))
    twice = [row | {"assigned": 2 * row["assigned"]} for row in given.assigned]
    (row,) = checks(replace(given, assigned=twice), "planned_users")
    assert (row["observed"], row["detail"]) == (10_000, "the planned number of users is reached")


def test_power_stands_beside_what_would_matter():
    metric = hm.metric("revenue", practical_threshold=0.2)
    plan = hm.plan([metric])
    (row,) = checks(inputs(plan, (metric, hm.draw_units(14, 2000))), "power")
    assert row["expected"] == 0.2 and 0.05 < row["observed"] < 0.3 and row["status"] == "ok"


def panel(drift: float) -> pa.Table:
    rng = np.random.default_rng(1)
    arms = {arm: rng.normal(1, 1, (400, 14)) for arm in ("control", "treatment")}
    arms["treatment"] = arms["treatment"] + drift * np.arange(14)
    return hm.panel("revenue", arms)


@pytest.mark.parametrize(
    ("design", "drift", "status"),
    [
        ("randomized", 0.0, "ok"),
        ("randomized", 0.012, "ok"),  # p between 0.001 and 0.05: context in a randomized design
        ("randomized", 0.1, "fail"),
        ("rollout", 0.0, "ok"),
        ("rollout", 0.012, "fail"),
        ("rollout", None, "fail"),  # nobody could test: not a pass
    ],
)
def test_pre_trends_gate_a_rollout_at_a_twentieth_and_speak_up_elsewhere_at_a_thousandth(design, drift, status):
    plan, units = hm.plan([METRIC], design=design), hm.draw_units(15, 400, days=1)
    given = inputs(plan, (METRIC, units), panel=None if drift is None else panel(drift))
    (row,) = checks(given, "pretrends")
    assert row["status"] == status


def test_a_cap_that_came_out_as_zero_warns():
    metric = hm.metric("revenue", cap={"quantile": 0.99})
    plan, units = hm.plan([metric]), hm.draw_units(16, 300)
    given = inputs(plan, (metric, units))
    (row,) = checks(given, "cap")
    assert row["status"] == "warn"
    caps = pa.array([50.0] * given.statistics.num_rows)
    position = given.statistics.column_names.index("cap")
    applied = replace(given, statistics=given.statistics.set_column(position, "cap", caps))
    (row,) = checks(applied, "cap")
    assert (row["status"], row["observed"]) == ("ok", 50.0)


def test_maturity_is_the_share_of_units_whose_window_has_closed():
    plan = hm.plan([METRIC])
    (row,) = checks(inputs(plan, (METRIC, hm.draw_units(17, 300))), "maturity")
    assert row["observed"] == 1.0


def test_more_than_one_treatment_arm_is_checked_arm_by_arm():
    arms = ("control", "a", "b")
    plan = hm.plan([METRIC], arms=arms)
    given = inputs(plan, (METRIC, hm.draw_units(18, 500, arms)))
    assert {row["variant_id"] for row in checks(given, "aa_pre_period")} == {"a", "b"}
    assert {row["variant_id"] for row in checks(given, "skewness")} == set(arms)
    assert [row["status"] for row in checks(given, "srm_assigned")] == ["ok"]


@pytest.mark.parametrize("design", ["randomized", "rollout"])
def test_an_experiment_without_a_single_unit_breaks_no_check(design: str):
    metrics = [METRIC, hm.metric("share", "ratio"), hm.metric("median", "quantile")]
    plan = hm.plan(metrics, design=design)
    statistics, axes = hm.empty(hm.STATISTICS), read_axes(hm.empty(hm.STATISTICS), plan.arms)
    answer = analyze(statistics, hm.empty(PANEL), plan)
    run = {"experiment_id": "exp_test", "dt": plan.dt, "run_id": "r", "code_version": "v", "computed_at": plan.cutoff}
    results = to_table("exp.analysis_results", answer.results, run | {"input_snapshots": "{}", "config_hash": "c"})
    nothing = CheckInputs(plan, statistics, cubes(statistics, metrics, axes), axes, [], deciding_rows(results))
    ratio = [(row["status"], row["p_value"], row["observed"]) for row in checks(nothing, "srm_assigned")]
    assert ratio == ([("ok", 1.0, None)] if design == "randomized" else [])
    (row,) = checks(nothing, "planned_users")
    assert row["detail"] == "no users yet"
