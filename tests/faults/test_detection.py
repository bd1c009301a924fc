"""A small detection matrix: what `make detect` runs, with fewer users and one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.sessions import session_for

from exp_platform.config.load import Project
from exp_platform.detection.cases import SIZES, Case, Outcome, cases
from exp_platform.detection.many_experiments import run_cases, run_healthy
from exp_platform.detection.matrix_page import Healthy, page, upper_bound
from exp_platform.detection.pipeline import Bench
from exp_platform.detection.world import DAYS, detection_plan
from exp_platform.synth.planted_faults import FAULTS

INGEST_CASES = [
    *("null_user_ids_small", "null_user_ids_stated", "unknown_variant_stated", "schema_drift_stated"),
    *("schema_drift_type_stated", "empty_dataset_large", "corrupt_parquet_stated"),
    *("duplicate_events_large", "out_of_order_timestamps_stated", "schema_drift_extra_stated"),
]
RESULTS_CASES = ["bots_stated", "non_parallel_pre_period_stated", "reused_user_ids_across_experiments_stated"]


def test_every_fault_is_in_the_matrix_with_sizes_that_grow() -> None:
    assert set(SIZES) == set(FAULTS)
    assert all(s.small < s.stated <= s.large for s in SIZES.values())
    everything = cases("exposures", "ingest", "results")
    assert {case.fault.name for case in everything} == set(FAULTS) and len(everything) == 3 * len(FAULTS)


@pytest.fixture(scope="module")
def fast(spark: Any, session_project: Project) -> dict[str, Outcome]:
    """Every case of the fast path, by key."""
    plan = detection_plan(session_project, n_users=8000)
    return {outcome.case.key: outcome for outcome in run_cases(spark, plan, cases("exposures"), seeds=1)}


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize("case", cases("exposures"), ids=lambda case: case.key)
def test_a_fault_fires_its_own_check_and_a_small_one_none(fast: dict[str, Outcome], case: Case) -> None:
    fired = set(fast[case.key].fired)
    assert fired == (set() if case.expectation == "silent" else {case.own_check})


@pytest.mark.spark
@pytest.mark.slow
def test_healthy_experiments_fire_nothing(spark: Any, session_project: Project) -> None:
    fired = run_healthy(spark, detection_plan(session_project, n_users=2000), 10)
    assert list(fired.values()) == [set()] * 10


def a_bench(spark: Any, folder: Path, n_users: int, *, days: int = DAYS, compiled: bool = False) -> Bench:
    """A lake with one small experiment, whose users are assigned on so many days."""
    project = make_project(folder)
    plan = detection_plan(project, n_users)
    plan = replace(plan, scenario=plan.scenario.model_copy(update={"days": days}))
    project = replace(project, experiments={plan.experiment_id: plan.experiment})
    empty_lake(project)
    return Bench(project, session_for(spark, project, compiled=compiled), plan, log=lambda _: None)


def _wanted(keys: list[str]) -> list[Case]:
    return [case for case in cases("ingest", "results") if case.key in keys]


@pytest.mark.spark
@pytest.mark.slow
def test_broken_contracts_are_blocked_and_harmless_faults_absorbed(spark: Any, tmp_path: Path) -> None:
    bench = a_bench(spark, tmp_path, 1000, days=5)
    outcomes = bench.run_cases(_wanted(INGEST_CASES), [7])
    assert {o.case.key: dict(o.fired) for o in outcomes if not o.as_expected} == {}
    assert len(outcomes) == len(INGEST_CASES)


@pytest.mark.spark
@pytest.mark.slow
def test_bots_and_drift_before_assignment_are_seen_and_shared_users_change_nothing(spark: Any, tmp_path: Path) -> None:
    bench = a_bench(spark, tmp_path, 3000, compiled=True)
    outcomes = bench.run_cases(_wanted(RESULTS_CASES), [7])
    assert {o.case.key: dict(o.fired) for o in outcomes if not o.as_expected} == {}
    assert len(outcomes) == len(RESULTS_CASES)


def test_the_page_shows_what_fired_and_marks_what_should_not_have() -> None:
    by_key = {case.key: case for case in cases("exposures", "ingest", "results")}
    outcomes = [
        Outcome(by_key["srm_small"], 3, {"srm": 1}),
        Outcome(by_key["srm_stated"], 3, {"srm": 3}),
        Outcome(by_key["duplicate_events_stated"], 1, {}),
        Outcome(by_key["corrupt_parquet_large"], 1, {"contract": 1}),
    ]
    text = page(outcomes, Healthy(200, 3000, Counter(), 0), {"exposures": 12000, "pipeline": 6000})
    assert "4 cases, 3 as expected, 1 not." in text
    assert "| 0.01: `srm` 1/3 ✗ | 0.12: `srm` 3/3 | – |" in text
    assert "0.2: unchanged 1/1" in text and "1: blocked 1/1" in text
    assert f"0 with any failed check (0.00%; with 95% confidence at most {upper_bound(0, 200):.2%})" in text


def test_the_page_in_the_docs_is_of_this_matrix(request: pytest.FixtureRequest) -> None:
    text = (Path(request.config.rootpath) / "docs" / "detection-matrix.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in FAULTS)
    assert all(f"{case.fault.size:g}" in text for case in cases("exposures", "ingest", "results"))
    assert "✗" not in text
