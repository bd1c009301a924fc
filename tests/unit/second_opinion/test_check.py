"""`exp canary` on raw files: all agrees, a damaged data file is found, late and changed files are no alarm; no Spark.

The published sums, histograms and panels are made by `tests/hand_made.py` from the units; the raw files hold the same
units as events.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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
from exp_platform.config.models import Metric
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.second_opinion.cells import Cell
from exp_platform.second_opinion.check import cells_of, latest_run

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
    window = {"end_hours": 1}
    metrics = [hm.metric("spend", "sum", source="spend", window=window)]
    metrics += [hm.metric("middle", "quantile", source="spend", window=window)]
    metrics += [
        hm.metric("load", "quantile", level="event", quantile=0.6, source="load", window=window, may_be_absent=True)
    ]
    plan = hm.plan(metrics, days=14)
    project = clone(folder, metrics, plan)
    empty_lake(project)
    tables = ensure_tables(project)
    units = hm.draw_units(1, PER_ARM)
    units.y, units.pre, units.country = np.round(units.y * 8) / 8, np.round(units.pre * 8) / 8, None
    for dataset, rows in raw_events(units).items():
        land(project, dataset, rows)
    put(project, hm.STATISTICS, counts_alone(hm.statistics([(metric, units) for metric in metrics]), metrics[2]))
    put(project, hm.PANEL, pa.concat_tables(panel for name in ("spend", "middle") for panel in panels(name, units)))
    counted = ("exposed", "any_exposure", "canonical_assignments")
    daily = [r | dict.fromkeys(counted, r["assigned"]) | {"exposure_rate": 1.0} for r in hm.assigned(units)]
    put(project, "gold.fct_experiment_quality_metrics_daily", quality_rows(daily))
    claim(project, ID, "run_1", plan.dt, started_by="test")
    pins = {f"exp.{dataset}": tables[f"exp.{dataset}"] for dataset in EVENTS}
    pins |= {name: load_handle(project, name) for name in (hm.STATISTICS, hm.PANEL)}
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
        spent = ((y - 1, 5), (1.0, 10), (pre, -30), (2.0, -50 * 60), (-2.0, -30 * 60))
        events = [("spend", value, minutes) for value, minutes in spent] + [("load", y, 20), ("load", 9.0, 61)]
        for name, value, minutes in events:
            moment = at + timedelta(minutes=minutes)
            found["outcomes"].append(user | {"metric_name": name, "value": float(value), "outcome_ts": moment})
    return found


def counts_alone(statistics: pa.Table, metric: Metric) -> pa.Table:
    """The rows of a quantile of users as those of one of events, of which each user has one: counts and bins alone."""
    rows = statistics.to_pylist()
    for row in rows:
        if row["metric_name"] == metric.name:
            row |= dict.fromkeys(("y", "yy", "yyy"), 0.0) | {"did_n": 0}
            row |= {name: [0.0] * len(row[name]) for name in ("x", "xx", "xy", "dx", "did_v", "did_vv")}
    return pa.Table.from_pylist(rows, schema=statistics.schema)


def panels(name: str, units: hm.Units) -> list[pa.Table]:
    """The panel of each cohort date: the value before, and 2 and -2 on the two days before that."""
    found = []
    for day in sorted(set(units.day)):
        matrices = {}
        for arm in sorted(set(units.arm[units.day == day])):
            before = units.pre[(units.arm == arm) & (units.day == day)]
            matrices[arm] = np.zeros((len(before), 14))
            matrices[arm][:, -3:] = np.stack([0 * before + 2, 0 * before - 2, before], axis=1)
        found.append(hm.panel(name, matrices, day))
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


def rows_of(project: Project, table: str, metric: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = load_handle(project, table).scan().to_arrow().to_pylist()
    return [row for row in rows if row["metric_name"] == metric]


def test_every_published_number_is_that_of_the_raw_files(lake: Project) -> None:
    cells, note = check(lake)
    assert note == ""
    assert totals(cells)[1] == 0, [one.examples for one in cells]
    compared = {name: sum(one.compared for one in cells if one.metric_name == name) for name in ("spend", "load")}
    # 16 sums for each arm, by cohort date and all buckets together; users, means and difference; four of a panel's row
    days = sum(row["unit_bucket"] == -1 for row in rows_of(lake, hm.STATISTICS, "spend"))
    panel = len(rows_of(lake, hm.PANEL, "spend"))
    assert (days, panel) == (28, 28 * 105)
    assert compared["spend"] == 16 * (days + 2) + 5 + 4 * panel
    # of a bin its count and extremes, by cohort date and all buckets of an arm together
    bins = [(row, {code for code, _ in row["histogram"]}) for row in rows_of(lake, hm.STATISTICS, "load")]
    by_date = sum(len(codes) for row, codes in bins if row["unit_bucket"] == -1)
    arms = ("control", "treatment")
    whole = sum(len(set().union(*(codes for row, codes in bins if row["variant_id"] == arm))) for arm in arms)
    assert compared["load"] == 16 * (days + 2) + 5 + 3 * (by_date + whole)


RESULTS = "exp.analysis_results"
LAST = -1  # of several


def one_bit(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def one_more(histogram: list[tuple[int, int]]) -> list[tuple[int, int]]:
    (code, count), *rest = histogram
    return [(code, count + 1), *rest]


DAMAGE: list[tuple[str, dict[str, Any], str, Callable[[Any], Any], str]] = [
    (hm.STATISTICS, {"metric_name": "spend", "unit_bucket": -1}, "y", one_bit, "y of all, 2026-01-"),
    (hm.STATISTICS, {"metric_name": "spend", "unit_bucket": 7}, "y", lambda y: y + 1e-6, "y[0] of all buckets"),
    (hm.STATISTICS, {"metric_name": "spend", "unit_bucket": 7}, "n", lambda n: n + 1, "n[0] of all buckets"),
    (hm.STATISTICS, {"metric_name": "load", "unit_bucket": -1}, "n", lambda n: n + 1, "n of all, 2026-01-"),
    (hm.STATISTICS, {"metric_name": "load", "unit_bucket": -1}, "histogram", one_more, "values in bin"),
    (hm.STATISTICS, {"metric_name": "load", "unit_bucket": 7}, "histogram", one_more, "values in bin"),
    (hm.STATISTICS, {"metric_name": "load", "unit_bucket": -1}, "histogram_highs",
     lambda highs: [*highs[:LAST], one_bit(highs[LAST])], "largest value of bin"),
    (hm.STATISTICS, {"metric_name": "middle", "unit_bucket": -1}, "histogram_lows",
     lambda lows: [lows[0] - 1e-9, *lows[1:]], "smallest value of bin"),
    (hm.PANEL, {"metric_name": "spend", "day_i": -3, "day_j": -2}, "sum_ij", lambda v: v * (1 + 1e-9),
     "sum_ij of days -3 and -2, 2026-01-"),
    (hm.PANEL, {"metric_name": "middle", "day_i": -1, "day_j": -1}, "n", lambda n: n + 1, "n of days -1 and -1, 2026-"),
    (RESULTS, {"metric_name": "load", "method": "ab"}, "control_mean", lambda v: v * 1.01, "control_mean of all"),
    (RESULTS, {"metric_name": "middle", "method": "ab"}, "effect_abs", lambda v: v + 1e-6, "effect_abs of all"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "where", "column", "change", "found"), DAMAGE)
def test_one_changed_number_in_one_data_file_is_found(
    lake: Project, table: str, where: dict[str, Any], column: str, change: Callable[[Any], Any], found: str
) -> None:
    (file,) = Path(load_handle(lake, table).location().removeprefix("file://")).rglob("data/**/*.parquet")
    sound = file.read_bytes()
    content = pq.ParquetFile(file).read()
    rows = content.to_pylist()
    row = next(row for row in rows if row | where == row)
    row[column] = change(row[column])
    pq.write_table(pa.Table.from_pylist(rows, schema=content.schema), file)
    cells, _ = check(lake)
    file.write_bytes(sound)
    examples = [one for cell in cells for one in cell.examples]
    assert examples and examples[0].startswith(found), examples
    assert {cell.metric_name for cell in cells if cell.differ} == {where["metric_name"]}


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
