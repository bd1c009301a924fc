"""`exp canary` on raw files: sums agree, a damaged data file is found, late and changed files are no alarm; no Spark.

The published sums are made by `tests/hand_made.py` from the units; the raw files hold the same units as events.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import clone, put, quality_rows
from tests.stages import opened

from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.second_opinion.check import cells_of, latest_run
from exp_platform.second_opinion.compare import Cell

ID, PER_ARM = "exp_test", 120
EVENTS = ("assignments", "exposures", "outcomes")
STAGES = ("sync_registry", "analyze_results", "validate_statistics", "check_guardrails")
INGESTED = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """exp_test as of its fourteenth day: raw files with an event for each number, and what a run published.

    Each test leaves it as it was, but for files that came late.
    """
    folder = tmp_path_factory.mktemp("lake")
    metric = hm.metric("spend", "sum", source="spend", window={"end_hours": 1})
    plan = hm.plan([metric], days=14)
    project = clone(folder, [metric], plan)
    empty_lake(project)
    tables = ensure_tables(project)
    units = hm.draw_units(1, PER_ARM)
    units.y, units.pre, units.country = np.round(units.y * 8) / 8, np.round(units.pre * 8) / 8, None
    for dataset, rows in raw_events(units).items():
        land(project, dataset, rows)
    put(project, hm.STATISTICS, hm.statistics({metric: units}))
    counted = ("exposed", "any_exposure", "canonical_assignments")
    daily = [r | dict.fromkeys(counted, r["assigned"]) | {"exposure_rate": 1.0} for r in hm.assigned(units)]
    put(project, "gold.fct_experiment_quality_metrics_daily", quality_rows(daily))
    claim(project, ID, "run_1", plan.dt, started_by="test")
    pins = {f"exp.{dataset}": tables[f"exp.{dataset}"] for dataset in EVENTS}
    pins[hm.STATISTICS] = load_handle(project, hm.STATISTICS)
    record(project, Run(project, ID, plan.dt, "run_1"), {name: one.current_snapshot() for name, one in pins.items()})
    for name in STAGES:
        with opened(project, ID, plan.dt, "run_1", name) as ctx:
            BY_NAME[name].run(ctx)
    return project


def raw_events(units: hm.Units) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in EVENTS}
    for i, (arm, day, y, pre) in enumerate(zip(units.arm, units.day, units.y, units.pre, strict=True)):
        user, at = {"experiment_id": ID, "user_id": f"u{i}"}, datetime.combine(day, time(10), UTC)
        found["assignments"].append(user | {"variant": arm, "assignment_ts": at, "unit": "user"})
        found["exposures"].append(user | {"variant": arm, "exposure_ts": at, "unit": "user"})
        for value, minutes in ((y - 1, 5), (1.0, 10), (pre, -30)):
            moment = at + timedelta(minutes=minutes)
            found["outcomes"].append(user | {"metric_name": "spend", "value": float(value), "outcome_ts": moment})
    return found


def land(project: Project, dataset: str, rows: list[dict[str, Any]], name: str = "a", at: datetime = INGESTED) -> Path:
    """Write a raw file, each row twice, and the row of ops.ingested_files that says that a run has read it."""
    path = Path(project.raw_folder(ID)) / dataset / "dt=2026-01-14" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows * 2), path)
    about = path.stat()
    key = {"experiment_id": ID, "dataset": dataset, "path": str(path)}
    row = {"size": about.st_size, "fingerprint": f"{about.st_mtime_ns}.abc", "rows": 2 * len(rows), "refused": 0}
    replace_rows(project, "ops.ingested_files", key, [key | row | {"run_id": "run_1", "ingested_at": at}])
    return path


def record(project: Project, run: Run, snapshots: dict[str, Any]) -> None:
    """The manifest of a run that has ingested and added up."""
    shared = {"experiment_id": ID, "run_id": run.run_id, "dt": run.dt, "role": "published", "seconds": 1.0}
    shared |= {"config_hash": run.config_hash, "code_version": run.code_version, "at": INGESTED, "rows": 1}
    for table, snapshot in snapshots.items():
        stage = "ingest_events" if table.startswith("exp.") else "aggregate_metrics"
        key = {"experiment_id": ID, "run_id": run.run_id, "stage": stage, "table": table}
        row = shared | key | {"snapshot_id": snapshot.snapshot_id, "status": "ok", "error": None}
        replace_rows(project, "ops.run_manifest", key, [row])


def check(project: Project) -> tuple[list[Cell], str]:
    return cells_of(project, latest_run(project, ID), cells=20)


def totals(cells: list[Cell]) -> tuple[int, int]:
    return sum(one.compared for one in cells), sum(one.differ for one in cells)


def test_the_sums_of_the_raw_files_are_the_published_ones_to_the_last_bit(lake: Project) -> None:
    cells, note = check(lake)
    assert note == ""
    # 16 numbers for each arm and cohort date; users, means and their difference for the result rows of treatment
    days = sum(row["unit_bucket"] == -1 for row in load_handle(lake, hm.STATISTICS).scan().to_arrow().to_pylist())
    assert totals(cells) == (16 * days + 5, 0), [one.examples for one in cells]


def test_one_changed_number_in_one_data_file_is_found(lake: Project) -> None:
    (file,) = Path(load_handle(lake, hm.STATISTICS).location().removeprefix("file://")).rglob("data/**/*.parquet")
    sound = file.read_bytes()
    table = pq.read_table(file)
    place = table["unit_bucket"].to_pylist().index(-1)
    values = table["y"].to_pylist()
    values[place] = float(np.nextafter(values[place], np.inf))
    pq.write_table(table.set_column(table.column_names.index("y"), table.schema.field("y"), pa.array(values)), file)
    cells, _ = check(lake)
    file.write_bytes(sound)
    assert totals(cells)[1] == 1
    (example,) = [one for cell in cells for one in cell.examples]
    assert example.startswith("y of all, 2026-01-")


def test_a_file_that_came_after_the_run_is_no_difference(lake: Project) -> None:
    late = {"experiment_id": ID, "user_id": "u1", "metric_name": "spend", "value": 99.0, "outcome_ts": hm.START}
    land(lake, "outcomes", [late], "late", INGESTED + timedelta(hours=20))
    (Path(lake.raw_folder(ID)) / "outcomes" / "dt=2026-01-14" / "unknown.parquet").write_bytes(b"landing")
    cells, note = check(lake)
    assert (note, totals(cells)[1]) == ("", 0)


def test_a_raw_file_that_was_written_again_is_said_and_no_alarm(lake: Project) -> None:
    path = Path(lake.raw_folder(ID)) / "outcomes" / "dt=2026-01-14" / "a.parquet"
    written = path.stat().st_mtime_ns
    os.utime(path, ns=(1, 1))
    cells, note = check(lake)
    os.utime(path, ns=(written, written))
    assert cells == []
    assert note == f"{path} has changed or is gone since the run read it; the next run reads it again"


def test_another_configuration_than_the_runs_is_said_and_no_alarm(lake: Project) -> None:
    file = lake.root / "configs" / "metrics" / "spend.yaml"
    before = file.read_text()
    file.write_text(before.replace("end_hours: 1", "end_hours: 2"))
    cells, note = check(load_project(lake.path))
    file.write_text(before)
    assert cells == []
    assert "the configuration of exp_test has changed since" in note
