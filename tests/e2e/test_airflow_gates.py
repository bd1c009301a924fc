"""Every gate's effect on the graph, by `airflow dags test` with the real jobs on small data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.airflow_rig import Rig

from exp_platform.airflow.lake_reads import latest_decision
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAY = date(2026, 1, 15)
STAGES_AFTER_INGEST = (
    "build_assignments",
    "validate_exposures",
    "build_unit_outcomes",
    "aggregate_metrics",
    "analyze_results",
    "validate_statistics",
    "check_guardrails",
)
GATES = ("quality_gate", "srm_gate", "guardrail_gate")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Iterator[Rig]:
    """Two analysed experiments: one with mixed arms, one with a harmful change and a skewed split.

    The runs of Airflow below reuse what is analysed here, so that each starts no JVM; a run whose stages start their
    JVMs, with a healthy experiment, is in test_airflow_scheduler.py. The later tests break what the earlier ones read.
    """
    rig = Rig(tmp_path_factory.mktemp("gates"), "exp_mixed_arms", "exp_harmful")
    rig.analyse(DAY, {"exp_mixed_arms": "variant_mismatch:0.3", "exp_harmful": "srm:0.4"}, spark)
    yield rig
    rig.down()


def break_outcomes(rig: Rig, experiment_id: str) -> None:
    """Deliver each file of outcomes again, with a first fifth of rows that have lost their user."""
    folder = Path(rig.project.resolve(rig.project.raw_folder(experiment_id))) / "outcomes"
    for file in folder.rglob("*.parquet"):
        table = pq.ParquetFile(file).read()
        users = table["user_id"].to_pylist()
        users = [None if row < len(users) / 5 else user for row, user in enumerate(users)]
        place = table.schema.get_field_index("user_id")
        pq.write_table(table.set_column(place, "user_id", pa.array(users, pa.string())), file)


def memo(rig: Rig, experiment_id: str) -> str:
    return (Path(rig.project.resolve(rig.project.profile.memo_dir)) / f"{experiment_id}.md").read_text()


def alerts(rig: Rig, experiment_id: str) -> set[str]:
    return {row["kind"] for row in read_rows(load_handle(rig.project, "ops.alerts"), {"experiment_id": experiment_id})}


def test_a_failed_quality_check_makes_its_gate_red_and_the_results_are_kept(rig: Rig) -> None:
    run = rig.dag_test(experiment_id="exp_mixed_arms", dt=DAY.isoformat())
    assert run.state == "failed"
    assert run.tasks["quality_gate"] == "failed"
    assert run.tries["quality_gate"] == 1
    assert {run.tasks[name] for name in (*STAGES_AFTER_INGEST, "write_memo", "srm_gate")} == {"success"}
    assert run.tasks["experiment_passed"] == "upstream_failed"
    assert run.tasks["watcher"] == "failed"
    assert "not trusted: variant_mismatch failed" in run.log
    decision = latest_decision(rig.project, "exp_mixed_arms")
    assert decision is not None
    assert decision["decision"] == "invalid"
    assert "invalid" in memo(rig, "exp_mixed_arms").lower()


def test_a_failed_guardrail_and_a_skewed_split_each_make_their_own_gate_red(rig: Rig) -> None:
    run = rig.dag_test(experiment_id="exp_harmful", dt=DAY.isoformat())
    assert {name: run.tasks[name] for name in GATES} == {
        "quality_gate": "success",
        "srm_gate": "failed",
        "guardrail_gate": "failed",
    }
    assert run.tasks["write_memo"] == "success"
    assert run.tasks["experiment_passed"] == "upstream_failed"
    assert {"srm_failed", "guardrail_failed"} <= alerts(rig, "exp_harmful")


def test_a_broken_contract_stops_the_run_at_once_and_the_memo_says_so_above_the_last_numbers(rig: Rig) -> None:
    before = latest_decision(rig.project, "exp_harmful")
    assert before is not None
    break_outcomes(rig, "exp_harmful")
    run = rig.dag_test(experiment_id="exp_harmful", dt=DAY.isoformat())
    assert run.state == "failed"
    assert run.tasks["ingest_events"] == "failed"
    assert run.tries["ingest_events"] == 1
    assert {run.tasks[name] for name in (*STAGES_AFTER_INGEST, *GATES)} == {"upstream_failed"}
    assert run.tasks["write_memo"] == "failed"  # its memo says "blocked", and a cleared run writes it anew
    assert "blocked since" in memo(rig, "exp_harmful").lower()
    assert latest_decision(rig.project, "exp_harmful") == before
    assert "contract_broken" in alerts(rig, "exp_harmful")


def test_an_unknown_key_of_the_conf_ends_the_run_at_its_first_task(rig: Rig) -> None:
    run = rig.dag_test(experiment_id="exp_harmful", date="2026-01-07")
    assert run.tasks["resolve_run"] == "failed"
    assert run.tries["resolve_run"] == 1
    assert "conf: unknown key 'date'" in run.log
    assert run.tasks["sync_registry"] == "upstream_failed"
