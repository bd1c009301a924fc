"""Ten days at once: `airflow backfill create` against direct runs of each day, row for row (`make test-long`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.airflow_rig import Rig, differing_tables, direct_runs, wait_until

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables import TABLES

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(2 * 3600)]

ID = "exp_good"
DAYS = [date(2026, 1, 5) + timedelta(days=n) for n in range(10)]  # from its first day to two after its end
LATEST_TABLES = [t for t in TABLES.values() if t.shows_latest_dt]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Every event has landed, and a run of the latest day is done, before Airflow starts."""
    rig = Rig(tmp_path_factory.mktemp("backfill"), ID)
    rig.python("-m", "exp_platform.pipelines.run_end_to_end", f"--experiment-id={ID}", "--generate-synth")
    yield rig
    rig.down()


def latest_snapshots(project: Project) -> dict[str, int | None]:
    handles = {table.name: load_handle(project, table.name) for table in LATEST_TABLES}
    return {name: handle.metadata.current_snapshot_id for name, handle in handles.items()}


def test_a_backfill_of_ten_days_gives_each_day_what_a_direct_run_of_it_gives(
    rig: Rig, tmp_path: Path, spark: Any
) -> None:
    direct = direct_runs(rig, tmp_path, ID, DAYS, spark)
    before = latest_snapshots(rig.project)
    rig.up()
    firings = [(day + timedelta(days=1)).isoformat() for day in (DAYS[0], DAYS[-1])]
    window = ["--from-date", firings[0], "--to-date", firings[1]]
    code, said = rig.airflow("backfill", "create", "--dag-id", "daily_experiments", *window)
    assert code == 0, said[-2000:]

    def runs() -> list[dict[str, Any]]:
        found = rig.client().get("/dags/daily_experiments/dagRuns?run_type=backfill")["dag_runs"]
        return found if len(found) == len(DAYS) and all(r["state"] in ("success", "failed") for r in found) else []

    wait_until("ten days end", runs, 5400, every=5)
    children = {
        run["dag_run_id"]: run
        for run in rig.client().get("/dags/experiment_analysis/dagRuns?limit=100")["dag_runs"]
        if run["dag_run_id"].startswith(f"{ID}__")
    }
    assert sorted(children) == [f"{ID}__{day}__1" for day in DAYS]  # each once: no day took over another's
    ends = [children[f"{ID}__{day}__1"]["end_date"] for day in DAYS]
    assert ends == sorted(ends)

    assert differing_tables(rig.project, direct, ID, DAYS) == []
    decided = {
        row["dt"] for row in read_rows(load_handle(direct, "gold.fct_experiment_decision"), {"experiment_id": ID})
    }
    assert decided == set(DAYS)
    assert latest_snapshots(rig.project) == before
