"""Ten days at once: `airflow backfill create` against direct runs of each day, row for row (`make test-long`)."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from tests.e2e.airflow_rig import Rig, small_project, wait_until

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables import TABLES

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(2 * 3600)]

ID = "exp_good"
DAYS = [date(2026, 1, 5) + timedelta(days=n) for n in range(10)]  # from its first day to two after its end
DT_TABLES = [t for t in TABLES.values() if t.has_dt and not t.name.startswith("ops.")]
LATEST_TABLES = [t for t in TABLES.values() if t.shows_latest_dt]
# One session for all days; each of them is what `exp run` would do.
DIRECT_RUNS = """
import sys
from datetime import date
from exp_platform.config.load import load_project
from exp_platform.pipelines.job import Run
from exp_platform.pipelines.run_end_to_end import run_end_to_end
from exp_platform.spark.session import build_spark_session

project = load_project(sys.argv[1])
session = build_spark_session("direct runs", project)
for word in sys.argv[3:]:
    run = Run(project, sys.argv[2], date.fromisoformat(word), f"direct_{word}", by_hand=False)
    run_end_to_end(run, spark=session, log=lambda line: None)
"""


def python(rig: Rig, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, *words], env=rig.environment(), capture_output=True, text=True, check=False, timeout=3600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Every event has landed, and a run of the latest day is done, before Airflow starts."""
    rig = Rig(tmp_path_factory.mktemp("backfill"), ID)
    (rig.home.dags / "lakehouse_maintenance.py").unlink()  # its first weekly run would take turns with ours
    python(rig, "-m", "exp_platform.pipelines.run_end_to_end", f"--experiment-id={ID}", "--generate-synth")
    yield rig
    rig.local("down")


@pytest.fixture(scope="module")
def direct(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A second lake over the same raw files, with one direct run of each day."""
    project = small_project(tmp_path_factory.mktemp("direct"), (ID,), raw_root=rig.project.raw_root)
    python(rig, "-c", DIRECT_RUNS, str(project.path), ID, *(day.isoformat() for day in DAYS))
    return project


def answers(project: Project, table: Any, dt: date) -> Counter[str]:
    """The rows of one day, but for the columns that tell of the run and not of the answer."""
    rows = read_rows(load_handle(project, table.name), {"experiment_id": ID, "dt": dt})
    return Counter(repr([(column, row[column]) for column in (*table.grain, *table.answer_columns)]) for row in rows)


def latest_snapshots(project: Project) -> dict[str, int | None]:
    handles = {table.name: load_handle(project, table.name) for table in LATEST_TABLES}
    return {name: handle.metadata.current_snapshot_id for name, handle in handles.items()}


def test_a_backfill_of_ten_days_gives_each_day_what_a_direct_run_of_it_gives(rig: Rig, direct: Project) -> None:
    before = latest_snapshots(rig.project)
    assert rig.local("up").returncode == 0
    firings = [(day + timedelta(days=1)).isoformat() for day in (DAYS[0], DAYS[-1])]
    window = ["--from-date", firings[0], "--to-date", firings[1]]
    created = rig.airflow("backfill", "create", "--dag-id", "daily_experiments", *window)
    assert created.returncode == 0, created.stderr[-2000:]

    def runs() -> list[dict[str, Any]]:
        found = rig.client().get("/dags/daily_experiments/dagRuns?run_type=backfill")["dag_runs"]
        return found if len(found) == len(DAYS) and all(r["state"] in ("success", "failed") for r in found) else []

    wait_until("ten days end", runs, 5400)
    children = {
        run["dag_run_id"]: run
        for run in rig.client().get("/dags/experiment_analysis/dagRuns?limit=100")["dag_runs"]
        if run["dag_run_id"].startswith(f"{ID}__")
    }
    assert sorted(children) == [f"{ID}__{day}__1" for day in DAYS]  # each once: no day took over another's
    ends = [children[f"{ID}__{day}__1"]["end_date"] for day in DAYS]
    assert ends == sorted(ends)

    differing = [
        (str(dt), table.name)
        for dt in DAYS
        for table in DT_TABLES
        if answers(rig.project, table, dt) != answers(direct, table, dt)
    ]
    assert differing == []
    decided = {
        row["dt"] for row in read_rows(load_handle(direct, "gold.fct_experiment_decision"), {"experiment_id": ID})
    }
    assert decided == set(DAYS)
    assert latest_snapshots(rig.project) == before
