"""J6, J7, J8, the memo and the alerts as stages on a lake, from hand-made statistics: no Spark."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import numpy as np
import pytest
from tests import hand_made as hm
from tests.hand_lake import answers, clone, put, quality_rows
from tests.stages import opened
from tests.unit.results.test_exposure import EXPOSURES, METHODS, exposures

from exp_platform.alerts.deliver import run_alerts
from exp_platform.config.load import Project
from exp_platform.config.models import Guardrail
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.ledger.claim import claim
from exp_platform.memo.memo_files import memo_dir
from exp_platform.memo.names import day
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.results.plan import AnalysisPlan

STAGES = ("analyze_results", "validate_statistics", "check_guardrails", "write_memo")
OUTPUTS = [table for name in STAGES for table in BY_NAME[name].publishes]
ARMS = ("control", "a", "b")


def run(project: Project, plan: AnalysisPlan, run_id: str) -> None:
    claim(project, "exp_test", run_id, plan.dt, started_by="test")
    for name in STAGES:
        with opened(project, "exp_test", plan.dt, run_id, name, log=lambda _: None) as ctx:
            BY_NAME[name].run(ctx)


@pytest.fixture
def lake(tmp_path):
    """An experiment with two treatments: `a` wins, and `b` harms latency."""
    metrics = [
        hm.metric("checkout", "binary"),
        hm.metric("speed", direction="decrease"),
        hm.metric("share", "ratio"),
        hm.metric("half", "quantile"),
    ]
    plan = hm.plan(metrics, days=14, arms=ARMS, guardrails=(Guardrail(metric="speed", max_relative_harm=0.05),))
    project = clone(tmp_path, metrics, plan)
    ensure_tables(project)
    units = hm.draw_units(1, 3000, ARMS, effects={"a": 0.04}, base=0.1, kind="binary")
    pairs = [
        (metrics[0], units),
        (metrics[1], hm.draw_units(2, 3000, ARMS, effects={"b": 1.5})),
        (metrics[2], hm.draw_units(3, 3000, ARMS, kind="ratio")),
        (metrics[3], hm.draw_units(4, 3000, ARMS)),
    ]
    put(project, hm.STATISTICS, hm.statistics(pairs))
    put(project, "gold.fct_experiment_quality_metrics_daily", quality_rows(hm.assigned(units)))
    return project, plan


def test_from_statistics_to_memo_and_alert(lake):
    project, plan = lake
    run(project, plan, "run_1")
    decisions = {row["variant_id"]: row for row in answers(project, "gold.fct_experiment_decision")}
    assert {arm: row["decision"] for arm, row in decisions.items()} == {"a": "ship", "b": "stop", "all": "ship"}
    assert decisions["b"]["reasons"][0] == "guardrail_failed:speed" and decisions["all"]["reasons"][0] == "ship:a"
    guardrails = {row["variant_id"]: row["status"] for row in answers(project, "gold.fct_experiment_guardrail_status")}
    assert guardrails == {"a": "pass", "b": "fail"}
    results = answers(project, "exp.analysis_results")
    assert len(results) == 4 * 2 * 3 * 3 and sum(row["is_deciding"] for row in results) == 4 * 2
    memo = json.loads((memo_dir(project) / "exp_test.json").read_text())
    assert memo["answer"]["decision"] == "ship" and memo["dt"] == plan.dt.isoformat()
    (alert,) = run_alerts(project, "exp_test", plan.dt, "run_1")
    assert (alert.kind, alert.subject) == ("guardrail_failed", "speed/b")


def test_a_second_run_gives_the_same_answers_and_no_more_rows(lake):
    project, plan = lake
    run(project, plan, "run_1")
    before = {name: answers(project, name) for name in OUTPUTS}
    run(project, plan, "run_2")
    assert {name: answers(project, name) for name in OUTPUTS} == before
    run_ids = load_handle(project, "gold.fct_experiment_decision").scan().to_arrow()["run_id"].to_pylist()
    assert set(run_ids) == {"run_2"}


def test_sums_by_exposure_add_rows_a_check_and_a_paragraph_and_decide_nothing(lake):
    project, plan = lake
    run(project, plan, "run_1")
    alone = {name: answers(project, name) for name in ("exp.analysis_results", "gold.fct_experiment_decision")}
    units = hm.draw_units(1, 3000, ARMS, effects={"a": 0.04}, base=0.1, kind="binary")
    units.country = np.where(np.random.default_rng(1).random(len(units.arm)) < 0.6, "yes", "no").astype(object)
    put(project, EXPOSURES, exposures((plan.metrics[0], units)))
    run(project, plan, "run_2")
    results = answers(project, "exp.analysis_results")
    added = [row for row in results if row["method"] in METHODS and row["metric_name"] == "checkout"]
    assert len(added) == 4 * 2 and {row["status"] for row in added} == {"ok"}
    assert [row for row in results if row["method"] not in METHODS] == alone["exp.analysis_results"]
    assert answers(project, "gold.fct_experiment_decision") == alone["gold.fct_experiment_decision"]
    checks = answers(project, "gold.fct_experiment_statistical_validation")
    assert {row["status"] for row in checks if row["check_name"] == "exposure_agreement"} == {"ok"}
    memo = json.loads((memo_dir(project) / "exp_test.json").read_text())
    assert memo["exposure"][0]["metric"] == "checkout" and "the two agree" in memo["exposure"][0]["sentence"]


def test_each_dt_keeps_its_answers_and_the_memo_names_the_first_look_with_evidence(lake):
    project, plan = lake
    for days_before in (2, 1, 0):
        cutoff = plan.cutoff - timedelta(days=days_before)
        run(
            project,
            AnalysisPlan(plan.experiment, plan.metrics, plan.dt - timedelta(days=days_before), cutoff),
            f"run_{cutoff:%d}",
        )
    dts = {row["dt"] for row in answers(project, "exp.analysis_results")}
    assert len(dts) == 3
    page = (memo_dir(project) / "exp_test.md").read_text()
    assert re.search(rf"First clear at every look, a\W+{day(min(dts).isoformat())}", page), page
    assert re.search(r"First clear at every look, b\W+not yet", page), page
