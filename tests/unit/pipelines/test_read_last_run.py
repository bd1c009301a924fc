"""The last run of an earlier day, found in a lake: its numbers, its configuration, and the events since; no Spark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.hand_lake import configured
from tests.published_lake import STAGES, append_by_user, published_lake
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, INGESTED_FILES, OUTCOMES, RUN_MANIFEST
from exp_platform.lake.types import arrow_schema
from exp_platform.ledger.claim import claim
from exp_platform.ledger.configurations import kept_configuration, rebuilt
from exp_platform.pipelines.read_last_run import since_last_run
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.sealed_plan import plan_of
from exp_platform.results.last_run import Files, SinceLastRun
from exp_platform.results.plan import AnalysisPlan

ID = "exp_test"


def outcomes(project: Project, days: list[int]) -> int:
    """One more outcome on each of these days of January; the snapshot with them."""
    rows = [
        {
            "experiment_id": ID, "user_id": "u1", "metric_name": "speed", "value": 1.0 * day, "event_id": None,
            "outcome_ts": datetime(2026, 1, day, 12, tzinfo=UTC), "source_file": "a", "ingested_at": datetime.now(UTC),
        }
        for day in days
    ]  # fmt: skip
    append_by_user(project, OUTCOMES, pa.Table.from_pylist(rows, schema=arrow_schema(TABLES[OUTCOMES])))
    snapshot = load_handle(project, OUTCOMES).current_snapshot()
    assert snapshot is not None
    return snapshot.snapshot_id


def ingested(project: Project, run_id: str, dt: Any, snapshot: int, sizes: dict[str, int], config_hash: str) -> None:
    """The books of ingest: the files as they were read, and the snapshot that J4 read."""
    at = datetime.now(UTC)
    files = [
        {"experiment_id": ID, "dataset": "outcomes", "path": path, "size": size, "fingerprint": f"{size}.x",
         "rows": size, "refused": 0, "run_id": run_id, "ingested_at": at}
        for path, size in sizes.items()
    ]  # fmt: skip
    replace_rows(project, INGESTED_FILES, {"experiment_id": ID}, files)
    row = {
        "experiment_id": ID, "run_id": run_id, "dt": dt, "stage": "build_unit_outcomes", "table": OUTCOMES,
        "role": "read", "snapshot_id": snapshot, "rows": 1, "status": "ok", "config_hash": config_hash,
        "code_version": "v", "at": datetime.now(UTC) + timedelta(milliseconds=5),
    }  # fmt: skip
    key = {"experiment_id": ID, "run_id": run_id}  # the stages before, which ran without events, are forgotten
    replace_rows(project, RUN_MANIFEST, key, [dict.fromkeys(TABLES[RUN_MANIFEST].columns) | row])


@pytest.fixture(scope="module")
def next_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, AnalysisPlan, SinceLastRun]:
    """A day after the first run: two events came late, a file was written again, one is gone, alpha is another."""
    project, plan = published_lake(tmp_path_factory.mktemp("lake"))
    before = project.config_hash(project.experiment(ID))
    snapshot = outcomes(project, [3, 4])
    ingested(project, "run_1", plan.dt, snapshot, {"a": 10, "b": 20, "c": 30}, before)
    changed = configured(project, project.experiment(ID).model_copy(update={"alpha": 0.01}))
    dt = plan.dt + timedelta(days=1)
    claim(changed, ID, "run_2", dt, started_by="test")
    for name in STAGES:
        with opened(changed, ID, dt, "run_2", name) as ctx:
            BY_NAME[name].run(ctx)
    late = outcomes(changed, [5, 6, (dt.day)])
    ingested(changed, "run_2", dt, late, {"a": 10, "b": 21, "d": 5}, changed.config_hash(changed.experiment(ID)))
    with opened(changed, ID, dt, "run_2", "write_memo") as ctx:
        found = since_last_run(ctx, plan_of(ctx), ctx.read.arrow(ANALYSIS_RESULTS).to_pylist(), ())
    assert found is not None
    return changed, plan, found


def test_the_numbers_of_the_last_run_stand_beside_those_of_today(
    next_day: tuple[Project, AnalysisPlan, SinceLastRun],
) -> None:
    project, plan, found = next_day
    assert (found.run_id, found.dt) == ("run_1", plan.dt)
    assert {one.metric_name for one in found.metrics} == {"checkout", "speed"}
    published = load_handle(project, ANALYSIS_RESULTS).scan(row_filter=f"dt = '{plan.dt}'").to_arrow().to_pylist()
    row = next(r for r in published if r["is_deciding"] and r["metric_name"] == "checkout")
    number = next(one for one in found.metrics if one.metric_name == "checkout").figures["effect"]
    assert number.before == row["effect_abs"] and number.between is None and number.now is not None


def test_late_events_are_counted_and_files_that_changed_or_went_are_named(
    next_day: tuple[Project, AnalysisPlan, SinceLastRun],
) -> None:
    found = next_day[2]
    assert found.events == {"outcomes": 2}, "the event of the new day is none of the known days"
    assert found.files == (Files("outcomes", "b", 20, 21), Files("outcomes", "c", 30, None))


def test_settings_that_differ_are_named_from_the_kept_configuration(
    next_day: tuple[Project, AnalysisPlan, SinceLastRun],
) -> None:
    found = next_day[2]
    assert found.settings == ("experiment.alpha: 0.05 → 0.01",) and found.definitions == ()


def test_a_configuration_is_kept_under_its_hash_and_can_be_rebuilt(
    next_day: tuple[Project, AnalysisPlan, SinceLastRun], tmp_path: Path
) -> None:
    project, _, _ = next_day
    old = project.config_hash(project.experiment(ID).model_copy(update={"alpha": 0.05}))
    content = kept_configuration(project, ID, old)
    assert content is not None and kept_configuration(project, ID, "unknown") is None
    then = rebuilt(project, ID, old, content, tmp_path)
    assert then is not None and then.experiment(ID).alpha == 0.05
    other = content | {"policy": content["policy"] | {"min_days": 3}}
    assert rebuilt(project, ID, old, other, tmp_path) is None, "another policy gives another hash"
    assert (tmp_path / "configs" / "policies" / "default.yaml").is_file()


def test_without_a_run_of_an_earlier_day_there_is_nothing_to_compare_with(
    next_day: tuple[Project, AnalysisPlan, SinceLastRun],
) -> None:
    project, plan, _ = next_day
    claim(project, ID, "run_3", plan.dt, started_by="test")
    with opened(project, ID, plan.dt, "run_3", "write_memo") as ctx:
        assert since_last_run(ctx, plan_of(ctx), [], ()) is None
