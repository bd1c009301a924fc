"""J6: rows of effects from statistics tables made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests import hand_made as hm

from exp_platform.config.models import Guardrail
from exp_platform.results.analysis import Analysis, analyze
from exp_platform.results.frame import to_table
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.multiplicity import benjamini_hochberg, holm

PANEL = "gold.fct_experiment_panel_statistics"


def run(plan: AnalysisPlan, *pairs, panel: pa.Table | None = None) -> Analysis:
    return analyze(hm.statistics(list(pairs)), panel if panel is not None else hm.empty(PANEL), plan)


def table(answer: Analysis, plan: AnalysisPlan) -> pa.Table:
    constants = {
        "experiment_id": "exp_test",
        "dt": plan.dt,
        "run_id": "r",
        "input_snapshots": "{}",
        "config_hash": "c",
        "code_version": "v",
        "computed_at": plan.cutoff,
    }
    return to_table("exp.analysis_results", answer.results, constants)


def rows(answer: Analysis, plan: AnalysisPlan, **where: str) -> list[dict]:
    found = table(answer, plan).to_pylist()
    return [row for row in found if all(row[name] == value for name, value in where.items())]


def one(answer: Analysis, plan: AnalysisPlan, **where: str) -> dict:
    found = rows(answer, plan, **where)
    assert len(found) == 1, where
    return found[0]


def test_every_metric_arm_segment_and_method_has_one_row_and_one_row_per_metric_and_arm_decides():
    metrics = [hm.metric("revenue"), hm.metric("orders")]
    plan = hm.plan(metrics, arms=("control", "a", "b"))
    answer = run(plan, *((m, hm.draw_units(i, 300, ("control", "a", "b"))) for i, m in enumerate(metrics)))
    found = rows(answer, plan)
    keys = {(r["metric_name"], r["variant_id"], r["method"], r["segment"]) for r in found}
    assert len(keys) == len(found) == 2 * 2 * 3 * 3  # metrics × treatments × methods × (all, DE, FR)
    deciding = [r for r in found if r["is_deciding"]]
    assert {(r["metric_name"], r["variant_id"]) for r in deciding} == {
        (m, a) for m in ("revenue", "orders") for a in ("a", "b")
    }
    assert {(r["method"], r["segment"]) for r in deciding} == {("cuped", "all")}


def test_the_plain_effect_is_the_difference_of_the_means_of_the_units():
    metric = hm.metric("revenue")
    plan, units = hm.plan([metric]), hm.draw_units(1, 400, effects={"treatment": 0.5})
    row = one(run(plan, (metric, units)), plan, method="ab", segment="all")
    control, treatment = (units.y[units.arm == arm] for arm in ("control", "treatment"))
    assert row["control_n"] == 400 and row["treatment_n"] == 400
    assert row["effect_abs"] == pytest.approx(treatment.mean() - control.mean(), rel=1e-9)
    assert row["control_sd"] == pytest.approx(control.std(ddof=1), rel=1e-9)
    assert row["effect_abs_ci_low"] < row["effect_abs"] < row["effect_abs_ci_high"]
    assert row["anytime_ci_low"] < row["effect_abs_ci_low"]


def test_a_segment_row_is_the_effect_among_its_units():
    metric = hm.metric("revenue")
    plan, units = hm.plan([metric]), hm.draw_units(2, 500)
    row = one(run(plan, (metric, units)), plan, method="ab", segment="country=DE")
    german = units.country == "DE"
    expected = units.y[german & (units.arm == "treatment")].mean() - units.y[german & (units.arm == "control")].mean()
    assert row["effect_abs"] == pytest.approx(expected, rel=1e-9)


def test_cuped_narrows_the_interval_and_says_by_how_much():
    metric = hm.metric("revenue")
    plan = hm.plan([metric])
    answer = run(plan, (metric, hm.draw_units(3, 2000)))
    plain, adjusted = (one(answer, plan, method=m, segment="all") for m in ("ab", "cuped"))
    assert 0.15 < adjusted["variance_reduction"] < 0.35  # half of each value is habit: 1 − ρ² with ρ = 0.5
    widths = [row["effect_abs_ci_high"] - row["effect_abs_ci_low"] for row in (plain, adjusted)]
    assert widths[1] < widths[0]


def test_the_order_of_the_rows_of_the_statistics_changes_no_byte():
    metric = hm.metric("revenue")
    plan, units = hm.plan([metric]), hm.draw_units(4, 300)
    statistics = hm.statistics([(metric, units)])
    shuffled = statistics.take(np.random.default_rng(0).permutation(statistics.num_rows))
    first, second = (table(analyze(t, hm.empty(PANEL), plan), plan) for t in (statistics, shuffled))
    assert first.equals(second)


def test_the_two_grouping_sets_are_never_added_up():
    metric = hm.metric("revenue")
    plan = hm.plan([metric])
    row = one(run(plan, (metric, hm.draw_units(5, 256))), plan, method="ab", segment="all")
    assert row["treatment_n"] == 256


@pytest.mark.parametrize(
    ("case", "y"),
    [
        ("one arm has no unit at all", None),
        ("every value is null", np.nan),
        ("every unit has the same value", 7.0),
        ("control and treatment are all zero", 0.0),
    ],
)
def test_data_without_an_answer_gives_a_status_and_no_number(case: str, y: float | None):
    metric = hm.metric("revenue")
    plan, units = hm.plan([metric]), hm.draw_units(6, 200)
    if y is None:
        keep = units.arm == "control"
        units = hm.Units(units.arm[keep], units.day[keep], units.y[keep], units.pre[keep], units.country[keep])
    else:
        units.y, units.pre = np.full(len(units.y), y), np.full(len(units.y), 1.0)
    for row in rows(run(plan, (metric, units)), plan):
        assert row["status"] == "insufficient_data", case
        assert row["effect_abs"] is None and row["p_value"] is None and row["reason"]


def test_everybody_converting_in_both_arms_is_insufficient_data():
    metric = hm.metric("conversion", "binary")
    plan, units = hm.plan([metric]), hm.draw_units(7, 300, kind="binary")
    units.y = np.ones(len(units.y))
    row = one(run(plan, (metric, units)), plan, method="ab", segment="all")
    assert row["status"] == "insufficient_data" and "too_few_events" in row["reason"]


def test_no_answer_column_is_ever_nan_or_infinite():
    metrics = [hm.metric("conversion", "binary"), hm.metric("share", "ratio"), hm.metric("median", "quantile")]
    plan = hm.plan(metrics, days=1)
    odd = hm.draw_units(8, 120, days=1, kind="ratio")
    odd.d = np.zeros(len(odd.d))
    answer = run(
        plan,
        (metrics[0], hm.draw_units(8, 120, days=1, kind="binary", base=0.0)),
        (metrics[1], odd),
        (metrics[2], hm.draw_units(9, 120, days=1)),
    )
    found = table(answer, plan)
    for name, column in zip(found.column_names, found.columns, strict=True):
        if pa.types.is_floating(column.type):
            assert pc.all(pc.fill_null(pc.is_finite(column), True)).as_py(), name
    assert set(found["status"].to_pylist()) <= {"ok", "insufficient_data", "not_applicable"}


def test_a_control_mean_near_zero_leaves_the_relative_effect_null_and_says_why():
    metric = hm.metric("balance")
    plan, units = hm.plan([metric]), hm.draw_units(10, 300, base=0.0)
    units.y = units.y - units.y[units.arm == "control"].mean()
    row = one(run(plan, (metric, units)), plan, method="ab", segment="all")
    assert row["status"] == "ok" and row["effect_rel"] is None and "control_mean_near_zero" in row["reason"]


def test_without_a_pre_period_cuped_falls_back_and_did_does_not_apply():
    metric = hm.metric("revenue", pre_period_days=0)
    plan, units = hm.plan([metric]), hm.draw_units(11, 300)
    units.pre = np.zeros(len(units.pre))
    answer = run(plan, (metric, units))
    plain, cuped, did = (one(answer, plan, method=m, segment="all") for m in ("ab", "cuped", "did"))
    assert cuped["effect_abs"] == plain["effect_abs"] and "no_usable_covariate" in cuped["reason"]
    assert (did["status"], did["reason"], did["effect_abs"]) == ("not_applicable", "no_pre_period", None)


def test_did_needs_a_pre_period_as_long_as_the_window():
    metric = hm.metric("revenue", pre_period_days=3)
    plan = hm.plan([metric])
    did = one(run(plan, (metric, hm.draw_units(12, 300))), plan, method="did", segment="all")
    assert (did["status"], did["reason"]) == ("not_applicable", "pre_period_shorter_than_window")


def test_a_quantile_has_its_plain_estimate_under_cuped_and_none_under_did():
    metric = hm.metric("median", "quantile")
    plan, units = hm.plan([metric]), hm.draw_units(13, 800, effects={"treatment": 1.0})
    answer = run(plan, (metric, units))
    plain, cuped, did = (one(answer, plan, method=m, segment="all") for m in ("ab", "cuped", "did"))
    assert plain["effect_abs"] == pytest.approx(1.0, abs=0.3)
    assert cuped["effect_abs"] == plain["effect_abs"] and "no_usable_covariate" in cuped["reason"]
    assert did["status"] == "not_applicable"
    assert one(answer, plan, method="ab", segment="country=FR")["status"] == "ok"


def test_secondary_metrics_form_one_family_and_the_primary_its_own():
    metrics = [hm.metric("primary"), hm.metric("second"), hm.metric("third"), hm.metric("guard")]
    arms = ("control", "a", "b")
    plan = hm.plan(
        metrics,
        arms=arms,
        primary_metric="primary",
        guardrails=(Guardrail(metric="guard", max_relative_harm=0.1),),
    )
    plan = AnalysisPlan(
        plan.experiment.model_copy(update={"metrics": ("primary", "second", "third")}),
        plan.metrics,
        plan.dt,
        plan.cutoff,
    )
    effects = {"a": 0.15, "b": 0.2}
    answer = run(plan, *((m, hm.draw_units(20 + i, 800, arms, effects=effects)) for i, m in enumerate(metrics)))
    deciding = [r for r in rows(answer, plan) if r["is_deciding"]]
    for names in (["primary"], ["second", "third"]):
        family = [r for r in deciding if r["metric_name"] in names]
        expected = holm([r["anytime_p_value"] for r in family])  # before the planned end
        assert [r["p_value_adjusted"] for r in family] == pytest.approx(list(expected))
    assert all(r["p_value_adjusted"] is None for r in deciding if r["metric_name"] == "guard")
    others = [r for r in rows(answer, plan, segment="all") if not r["is_deciding"]]
    assert all(r["p_value_adjusted"] is None for r in others)


def test_a_policy_may_bound_the_share_of_false_discoveries_among_secondary_metrics():
    metrics = [hm.metric("primary"), *(hm.metric(name) for name in ("second", "third", "fourth", "fifth"))]
    plan = replace(hm.plan(metrics, primary_metric="primary"), secondaries="benjamini_hochberg")
    answer = run(plan, *((m, hm.draw_units(50 + i, 800, effects={"treatment": 0.25})) for i, m in enumerate(metrics)))
    family = [r for r in rows(answer, plan) if r["is_deciding"] and r["metric_name"] != "primary"]
    expected = benjamini_hochberg([r["anytime_p_value"] for r in family])
    assert [r["p_value_adjusted"] for r in family] == pytest.approx(list(expected))
    assert list(expected) != pytest.approx(list(holm([r["anytime_p_value"] for r in family])))


def test_the_detectable_effect_is_that_of_the_interval_in_force():
    metric = hm.metric("revenue")
    found = {}
    for days in (34, 35):
        plan = hm.plan([metric], days=days)
        row = one(run(plan, (metric, hm.draw_units(30, 500, days=28))), plan, method="cuped", segment="all")
        half = row["effect_abs_ci_high"] - row["effect_abs"]
        found[days] = row["mde"] / half
    assert found[35] == pytest.approx((1.96 + 0.84) / 1.96, rel=0.01)
    assert found[34] > 1.5 * found[35]


def test_from_the_planned_end_on_the_fixed_p_is_adjusted():
    metric = hm.metric("revenue")  # window of a week: planned end = day 35
    for days, column in ((34, "anytime_p_value"), (35, "p_value")):
        plan = hm.plan([metric], days=days)
        answer = run(plan, (metric, hm.draw_units(30, 500, days=28, effects={"treatment": 0.1})))
        row = one(answer, plan, method="cuped", segment="all")
        assert row["p_value_adjusted"] == pytest.approx(row[column])


def test_the_decision_scale_changes_no_p():
    found = []
    for scale in ("relative", "absolute"):
        metric = hm.metric("revenue", decision_scale=scale)
        plan = hm.plan([metric])
        answer = run(plan, (metric, hm.draw_units(31, 500, effects={"treatment": 0.2})))
        found.append(one(answer, plan, method="cuped", segment="all"))
    assert found[0]["p_value_adjusted"] == found[1]["p_value_adjusted"]
    assert found[0]["p_value_adjusted"] == pytest.approx(found[0]["anytime_p_value"])
    assert found[0]["anytime_p_value_rel"] == found[0]["anytime_p_value"]


def test_segment_values_are_one_family_and_share_a_heterogeneity_p():
    metric = hm.metric("revenue")
    plan, units = hm.plan([metric]), hm.draw_units(32, 1000)
    units.y = units.y + np.where((units.country == "DE") & (units.arm == "treatment"), 1.0, 0.0)
    answer = run(plan, (metric, units))
    values = [r for r in rows(answer, plan, method="cuped") if r["segment"] != "all"]
    expected = holm([r["anytime_p_value"] for r in values])
    assert [r["p_value_adjusted"] for r in values] == pytest.approx(list(expected))
    assert len({r["heterogeneity_p_value"] for r in values}) == 1
    assert values[0]["heterogeneity_p_value"] < 1e-6
    assert one(answer, plan, method="cuped", segment="all")["heterogeneity_p_value"] is None


def parallel(seed: int, drift: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    days = np.arange(14)
    return {
        "control": rng.normal(1, 1, (400, 14)),
        "treatment": rng.normal(1, 1, (400, 14)) + drift * days,
    }


def test_a_rollout_is_decided_by_did_and_fails_when_the_arms_did_not_run_in_parallel():
    metric = hm.metric("revenue")
    plan, units = hm.plan([metric], design="rollout"), hm.draw_units(40, 400, days=1)
    for drift, status in ((0.0, "ok"), (0.1, "failed_pretrends")):
        answer = run(plan, (metric, units), panel=hm.panel("revenue", parallel(1, drift)))
        row = one(answer, plan, method="did", segment="all")
        assert (row["is_deciding"], row["status"]) == (True, status)
        assert row["effect_abs"] is not None  # the number stays, the status says what it is worth
        assert one(answer, plan, method="ab", segment="all")["status"] == "ok"


def test_pre_trends_of_each_day_and_both_tests_are_reported():
    metric = hm.metric("revenue")
    plan = hm.plan([metric])
    answer = run(plan, (metric, hm.draw_units(41, 400, days=1)), panel=hm.panel("revenue", parallel(2, 0.0)))
    assert answer.deltas["relative_day"].tolist() == list(range(-14, 0))
    assert answer.tests["test"].tolist() == ["slope", "joint"]
    assert set(answer.tests["verdict"]) == {"passed"}
    matrix = parallel(2, 0.0)
    expected = matrix["treatment"][:, 0].mean() - matrix["control"][:, 0].mean()
    assert answer.deltas["delta"][0] == pytest.approx(expected)


def test_a_rollout_whose_pre_trends_nobody_could_test_says_so():
    metric = hm.metric("revenue")
    plan = hm.plan([metric], design="rollout")
    row = one(run(plan, (metric, hm.draw_units(42, 400, days=1))), plan, method="did", segment="all")
    assert row["status"] == "ok" and "pretrends_not_tested" in row["reason"]


@pytest.mark.parametrize(
    ("design", "drift", "status", "reason"),
    [
        ("rollout", 0.0, "pass", "bound_within_margin"),
        ("rollout", 0.1, "inconclusive", "failed_pretrends"),
        ("rollout", None, "inconclusive", "pretrends_not_tested"),
        ("randomized", None, "pass", "bound_within_margin"),
    ],
)
def test_a_guardrail_of_a_rollout_passes_only_where_its_own_trends_did(design, drift, status, reason):
    metric, guardrails = hm.metric("revenue"), (Guardrail(metric="revenue", max_relative_harm=0.5),)
    plan = hm.plan([metric], design=design, guardrails=guardrails)
    panel = None if drift is None else hm.panel("revenue", parallel(1, drift))
    answer = run(plan, (metric, hm.draw_units(40, 400, days=1)), panel=panel)
    deciding = {("revenue", "treatment"): one(answer, plan, method=plan.experiment.method_in_force, segment="all")}
    (row,) = guardrail_rows(deciding, plan)
    assert (row["status"], row["reason"].split(", ")[0]) == (status, reason)


@pytest.mark.parametrize("design", ["rollout", "randomized"])
def test_the_levels_before_and_after_leave_the_effect_of_difference_in_differences(design: str):
    metrics = [hm.metric("revenue"), hm.metric("share", "ratio")]
    plan = hm.plan(metrics, design=design)
    units = [hm.draw_units(44, 600, effects={"treatment": 2.0}), hm.draw_units(45, 600, kind="ratio")]
    answer = run(plan, *zip(metrics, units, strict=True))
    for metric, drawn in zip(metrics, units, strict=True):
        row = one(answer, plan, method="did", segment="all", metric_name=metric.name)
        control, treatment = (row[f"{arm}_mean"] - row[f"{arm}_pre_mean"] for arm in ("control", "treatment"))
        assert treatment - control == pytest.approx(row["effect_abs"])
        if design == "randomized" and drawn.d is None:
            assert row["treatment_pre_mean"] == pytest.approx(drawn.pre[drawn.arm == "treatment"].mean())
    plain = one(answer, plan, method="ab", segment="all", metric_name="revenue")
    assert plain["control_pre_mean"] is None and plain["treatment_pre_mean"] is None


def test_a_level_before_is_null_where_the_period_before_is_shorter_than_the_window():
    metric = hm.metric("revenue", pre_period_days=3)
    plan = hm.plan([metric])
    row = one(run(plan, (metric, hm.draw_units(46, 400))), plan, method="did", segment="all")
    assert (row["status"], row["control_pre_mean"]) == ("not_applicable", None)


def test_a_rollout_clusters_its_errors_by_the_registrys_attribute():
    metric = hm.metric("revenue")
    units = hm.draw_units(43, 600, days=1)
    rng = np.random.default_rng(0)
    stores = rng.integers(0, 40, len(units.arm))
    units.country = np.array([f"s{store:02d}" for store in stores], dtype=object)
    units.y = units.y + rng.normal(0, 2, 40)[stores]
    plain = hm.plan([metric], design="rollout", dimensions=())
    clustered = hm.plan([metric], design="rollout", dimensions=(), cluster="country")
    first, second = (one(run(plan, (metric, units)), plan, method="did", segment="all") for plan in (plain, clustered))
    assert second["effect_abs"] == pytest.approx(first["effect_abs"])
    assert "unit_level_errors" in first["reason"] and "unit_level_errors" not in second["reason"]
    assert first["p_value"] != second["p_value"]
    assert rows(run(clustered, (metric, units)), clustered, segment="country=s01") == []


@pytest.mark.parametrize("design", ["randomized", "rollout"])
def test_an_experiment_without_a_single_unit_has_rows_that_say_so(design: str):
    metrics = [hm.metric("revenue"), hm.metric("share", "ratio"), hm.metric("median", "quantile")]
    plan = hm.plan(metrics, design=design, arms=("control", "a", "b"))
    answer = analyze(hm.empty(hm.STATISTICS), hm.empty(PANEL), plan)
    found = rows(answer, plan)
    assert len(found) == 3 * 2 * 3
    assert {row["status"] for row in found} == {"insufficient_data", "not_applicable"}
    assert {row["status"] for row in found if row["is_deciding"]} <= {"insufficient_data", "not_applicable"}


@pytest.mark.parametrize("design", ["randomized", "rollout"])
def test_a_metric_without_any_row_does_not_disturb_the_others(design: str):
    metrics = [hm.metric("revenue"), hm.metric("forgotten")]
    plan = hm.plan(metrics, design=design)
    answer = run(plan, (metrics[0], hm.draw_units(50, 400, days=1)), panel=hm.panel("revenue", parallel(3, 0.0)))
    assert one(answer, plan, metric_name="revenue", method="did", segment="all")["status"] == "ok"
    forgotten = rows(answer, plan, metric_name="forgotten")
    assert forgotten and all(row["effect_abs"] is None for row in forgotten)
