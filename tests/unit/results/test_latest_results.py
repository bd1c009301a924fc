"""gold.latest_results holds the deciding rows of each experiment's latest dt: J6 to J8 on hand-made statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import answers, clone, put, quality_rows
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.config.models import Guardrail
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.tables import TABLES
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.results.plan import AnalysisPlan

LATEST = "gold.latest_results"
ARMS = ("control", "a", "b")


@pytest.fixture
def lake(tmp_path: Path) -> tuple[Project, AnalysisPlan]:
    """Arm `a` wins on the primary metric; `speed` is only a guardrail, `share` is decided on the relative scale."""
    metrics = [
        hm.metric("checkout", "binary"),
        hm.metric("share", "ratio", decision_scale="relative"),
        hm.metric("speed", direction="decrease"),
    ]
    plan = hm.plan(
        metrics,
        days=14,
        arms=ARMS,
        guardrails=(Guardrail(metric="speed", max_relative_harm=0.05),),
    )
    plan = AnalysisPlan(
        plan.experiment.model_copy(update={"metrics": ("checkout", "share")}), plan.metrics, plan.dt, plan.cutoff
    )
    project = clone(tmp_path, metrics, plan)
    empty_lake(project)
    units = hm.draw_units(1, 2000, ARMS, effects={"a": 0.05}, base=0.1, kind="binary")
    pairs = [
        (metrics[0], units),
        (metrics[1], hm.draw_units(3, 2000, ARMS, kind="ratio")),
        (metrics[2], hm.draw_units(2, 2000, ARMS)),
    ]
    put(project, hm.STATISTICS, hm.statistics(pairs))
    put(project, "gold.fct_experiment_quality_metrics_daily", quality_rows(hm.assigned(units)))
    return project, plan


def run(project: Project, plan: AnalysisPlan, run_id: str, days_before: int = 0) -> None:
    dt = plan.dt - timedelta(days=days_before)
    claim(project, "exp_test", run_id, dt, started_by="test")
    for name in ("analyze_results", "validate_statistics", "check_guardrails"):
        with opened(project, "exp_test", dt, run_id, name) as ctx:
            BY_NAME[name].run(ctx)


def deciding(project: Project, dt: Any) -> dict[tuple[str, str], dict[str, Any]]:
    rows = answers(project, "exp.analysis_results")
    return {(r["metric_name"], r["variant_id"]): r for r in rows if r["dt"] == dt and r["is_deciding"]}


def by_key(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(row["metric_name"], row["variant_id"]): row for row in rows}
    assert len(found) == len(rows), "one row per metric and arm"
    return found


def test_its_rows_are_those_that_decide_with_the_interval_in_force_and_the_decision(lake):
    project, plan = lake
    run(project, plan, "run_1")
    latest, rows = by_key(answers(project, LATEST)), deciding(project, plan.dt)
    assert set(latest) == set(rows) == {(m, arm) for m in ("checkout", "share", "speed") for arm in ("a", "b")}
    shared = [c for c in TABLES["exp.analysis_results"].answer_columns if c in TABLES[LATEST].columns]
    assert {"effect_abs", "dt", "alpha", "mde", "p_value_adjusted"} <= set(shared)
    for key, row in latest.items():
        assert [row[c] for c in shared] == [rows[key][c] for c in shared], key
    decisions = {r["variant_id"]: r for r in answers(project, "gold.fct_experiment_decision")}
    assert {arm: decisions[arm]["decision"] for arm in ("a", "b")} == {"a": "ship", "b": "keep_running"}
    for (_, arm), row in latest.items():
        assert (row["decision"], row["trust"]) == (decisions[arm]["decision"], decisions[arm]["trust"])


def test_effect_and_interval_are_on_the_scale_that_decides(lake):
    project, plan = lake
    run(project, plan, "run_1")
    latest = by_key(answers(project, LATEST))
    one, two = latest["checkout", "a"], latest["share", "a"]
    assert {row["interval_in_force"] for row in latest.values()} == {"anytime"}
    assert one["decision_scale"] == "absolute" and two["decision_scale"] == "relative"
    assert (one["effect"], one["ci_low"], one["ci_high"], one["p_value_in_force"]) == (
        *(one["effect_abs"], one["anytime_ci_low"], one["anytime_ci_high"], one["anytime_p_value"]),
    )
    assert (two["effect"], two["ci_low"], two["ci_high"], two["p_value_in_force"]) == (
        *(two["effect_rel"], two["anytime_rel_ci_low"], two["anytime_rel_ci_high"], two["anytime_p_value_rel"]),
    )


def test_each_metric_says_which_part_it_plays(lake):
    project, plan = lake
    run(project, plan, "run_1")
    roles = {row["metric_name"]: row["role"] for row in answers(project, LATEST)}
    assert roles == {"checkout": "primary", "share": "secondary", "speed": "guardrail"}


def test_a_later_day_replaces_the_rows_and_a_backfill_of_an_older_day_leaves_them(lake):
    project, plan = lake
    run(project, plan, "run_1", days_before=1)
    assert {row["dt"] for row in answers(project, LATEST)} == {plan.dt - timedelta(days=1)}
    run(project, plan, "run_2")
    newest = answers(project, LATEST)
    assert {row["dt"] for row in newest} == {plan.dt}
    run(project, plan, "run_3", days_before=2)
    assert answers(project, LATEST) == newest
    assert len({row["dt"] for row in answers(project, "gold.fct_experiment_decision")}) == 3


def test_a_rerun_gives_the_same_rows_and_says_that_it_wrote_them(lake):
    project, plan = lake
    run(project, plan, "run_1")
    before = answers(project, LATEST)
    run(project, plan, "run_2")
    assert answers(project, LATEST) == before
    assert set(load_handle(project, LATEST).scan().to_arrow()["run_id"].to_pylist()) == {"run_2"}


def test_the_rows_of_another_experiment_stay(lake):
    project, plan = lake
    other = dict.fromkeys(TABLES[LATEST].columns) | {
        column: "x" for column, kind in TABLES[LATEST].columns.items() if kind == "string!"
    }
    other |= {"experiment_id": "exp_test_2", "dt": plan.dt, "metric_version": 1, "alpha": 0.05}
    other["computed_at"] = datetime(2026, 2, 1, tzinfo=UTC)
    replace_rows(project, LATEST, {"experiment_id": "exp_test_2"}, [other])
    run(project, plan, "run_1")
    table = load_handle(project, LATEST).scan().to_arrow()
    assert table.filter(table["experiment_id"].to_numpy(zero_copy_only=False) == "exp_test_2").to_pylist() == [other]
    assert len(answers(project, LATEST)) == 6
