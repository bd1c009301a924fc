"""Maintenance makes the lake smaller and takes nothing away that somebody reads."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.lakes import CANONICAL, DT, EVENTS, ONE, TWO, Lake
from tests.stages import opened

from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.ledger import manifest
from exp_platform.ledger.claim import claim, current_claim, release
from exp_platform.ledger.pins import pin_inputs, tag_of_run
from exp_platform.operations import maintenance
from exp_platform.pipelines.context import StageContext

pytestmark = pytest.mark.spark
QUIET = {"log": lambda _: None}


def _now() -> datetime:
    return datetime.now(UTC)


def _append(lake: Lake, experiment_id: str, times: int, first: int = 0) -> None:
    for turn in range(first, first + times):
        lake.append(experiment_id, 40 * turn, 40 * (turn + 1), run_id=f"run_{turn}")


def _claimed(lake: Lake, experiment_id: str, released: bool) -> None:
    claim(lake.project, experiment_id, f"run_of_{experiment_id}", DT, "test")
    if released:
        release(lake.project, experiment_id, f"run_of_{experiment_id}")


def _rows_at(lake: Lake, table: str, snapshot_id: int) -> int:
    return lake.spark.read.option("versionAsOf", snapshot_id).table(f"iceberg.{table}").count()


def test_compaction_rewrites_the_idle_experiment_and_leaves_the_busy_one(lake: Lake) -> None:
    _append(lake, ONE, maintenance.SMALL_FILES)
    _append(lake, TWO, maintenance.SMALL_FILES)
    _claimed(lake, ONE, released=True)
    _claimed(lake, TWO, released=False)
    rows = {row["user_id"] for row in lake.spark.table(f"iceberg.{EVENTS}").collect()}
    held, busy = current_claim(lake.project, ONE), lake.files(EVENTS, TWO)

    done = maintenance.compact(lake.project, lake.spark, "maintenance_1", _now(), **QUIET)

    assert EVENTS in done[ONE]
    assert TWO not in done
    assert len(lake.files(EVENTS, ONE)) == 4  # one for each bucket of users
    assert lake.files(EVENTS, TWO) == busy
    assert {row["user_id"] for row in lake.spark.table(f"iceberg.{EVENTS}").collect()} == rows
    assert current_claim(lake.project, ONE) == held


def test_a_run_that_started_before_a_compaction_is_refused_and_not_mixed(lake: Lake) -> None:
    from exp_platform.errors import FencedConflict

    _claimed(lake, ONE, released=True)
    _append(lake, ONE, maintenance.SMALL_FILES, first=100)
    early, rows = lake.handle(EVENTS), lake.count(EVENTS, ONE)
    maintenance.compact(lake.project, lake.spark, "maintenance_2", _now(), **QUIET)
    with pytest.raises(FencedConflict):
        lake.publish(EVENTS, lake.events(ONE, 0, 3), ONE, run_id="early", handle=early)
    assert lake.count(EVENTS, ONE) == rows


def test_expiry_keeps_what_a_run_pinned_and_what_is_current(lake: Lake) -> None:
    pinned = lake.publish(EVENTS, lake.events(ONE, 0, 7), ONE, run_id="pinned")
    pin_inputs(lake.project, ONE, "pinned", {EVENTS: pinned.snapshot_id}, 90, _now())
    loose = lake.publish(EVENTS, lake.events(ONE, 0, 8), ONE, run_id="loose")
    _append(lake, ONE, 2, first=200)
    lake.publish(CANONICAL, lake.canonical(ONE, 3), ONE, run_id="older")
    lake.publish(CANONICAL, lake.canonical(ONE, 5), ONE, run_id="newer")
    rows, at_pin = lake.count(EVENTS, ONE), _rows_at(lake, EVENTS, pinned.snapshot_id)

    maintenance.expire(lake.project, lake.spark, _now() + timedelta(days=30), tables=[EVENTS, CANONICAL], **QUIET)

    snapshots = {s.snapshot_id for s in load_handle(lake.project, EVENTS).metadata.snapshots}
    assert pinned.snapshot_id in snapshots
    assert loose.snapshot_id not in snapshots
    assert _rows_at(lake, EVENTS, pinned.snapshot_id) == at_pin
    assert lake.count(EVENTS, ONE) == rows  # also the files that an append moved from its staging branch
    assert lake.count(CANONICAL, ONE) == 5


def test_expiry_keeps_what_a_run_of_these_days_reads_however_long_ago_it_was_written(lake: Lake) -> None:
    gone = lake.publish(CANONICAL, lake.canonical(ONE, 3), ONE, run_id="long ago").snapshot_id
    read = lake.publish(CANONICAL, lake.canonical(ONE, 4), ONE, run_id="kept ever since").snapshot_id
    time.sleep(1.1)  # older by a whole second
    a_run_begins = _now()
    lake.publish(CANONICAL, lake.canonical(TWO, 2), TWO, run_id="another experiment, days later")

    days_later = a_run_begins + timedelta(days=maintenance.SNAPSHOT_DAYS)
    maintenance.expire(lake.project, lake.spark, days_later, tables=[CANONICAL], **QUIET)

    snapshots = {s.snapshot_id for s in load_handle(lake.project, CANONICAL).metadata.snapshots}
    assert read in snapshots, "a task of that run that is cleared now reads what its run has pinned"
    assert gone not in snapshots
    assert _rows_at(lake, CANONICAL, read) == 4


def test_a_pin_that_is_over_goes_and_one_on_an_old_snapshot_keeps_its_full_time(lake: Lake) -> None:
    over = lake.publish(EVENTS, lake.events(ONE, 0, 3), ONE, run_id="over")
    later = _now() + timedelta(days=400)
    pin_inputs(lake.project, ONE, "fresh", {EVENTS: over.snapshot_id}, 90, later)
    refs = load_handle(lake.project, EVENTS).metadata.refs
    days = (refs[tag_of_run(ONE, "fresh")].max_ref_age_ms or 0) / (24 * 3600 * 1000)
    assert 490 <= days < 490.1  # Iceberg counts from the snapshot, which was 400 days old when the run pinned it

    other = lake.publish(EVENTS, lake.events(ONE, 0, 4), ONE, run_id="other")
    pin_inputs(lake.project, ONE, "other", {EVENTS: other.snapshot_id}, 0, _now())
    lake.publish(EVENTS, lake.events(ONE, 0, 5), ONE, run_id="last")
    maintenance.expire(lake.project, lake.spark, _now() + timedelta(days=30), tables=[EVENTS, CANONICAL], **QUIET)
    refs = load_handle(lake.project, EVENTS).metadata.refs
    assert tag_of_run(ONE, "other") not in refs
    assert tag_of_run(ONE, "fresh") in refs


def test_a_concluded_experiments_last_run_is_kept_for_good(lake: Lake) -> None:
    last = "the_last_run"
    claim(lake.project, ONE, last, date(2026, 5, 1), "test")
    with opened(lake.project, ONE, date(2026, 5, 1), last, "ingest_events", spark=lake.spark, **QUIET) as ctx:
        ctx.publish(EVENTS, lake.events(ONE, 0, 6))
    with opened(lake.project, ONE, date(2026, 5, 1), last, "check_guardrails", **QUIET) as ctx:
        ctx.publish("gold.fct_experiment_decision", [_decision(ctx)])
    one = lake.project.experiment(ONE).model_copy(update={"status": "concluded"})
    concluded = replace(lake.project, experiments=lake.project.experiments | {ONE: one})

    maintenance.keep_concluded(lake.project, _now(), **QUIET)
    assert tag_of_run(ONE, last) not in load_handle(lake.project, EVENTS).metadata.refs

    maintenance.keep_concluded(concluded, _now(), **QUIET)
    ref = load_handle(lake.project, EVENTS).metadata.refs[tag_of_run(ONE, last)]
    assert ref.snapshot_id == manifest.pins_of(manifest.run_rows(lake.project, ONE, last)).of(EVENTS)
    assert ref.max_ref_age_ms is None


def _decision(ctx: StageContext) -> dict[str, object]:
    return {
        "experiment_id": ctx.run.experiment_id,
        "dt": ctx.run.dt,
        "variant_id": "all",
        "trust": "trusted",
        "decision": "ship",
        "reasons": [],
        "policy": "default",
        "interval_in_force": "fixed",
        "run_id": ctx.run.run_id,
        "input_snapshots": "{}",
        "config_hash": ctx.run.config_hash,
        "code_version": ctx.run.code_version,
        "computed_at": ctx.now,
    }


def test_only_old_orphan_files_are_deleted_and_every_row_stays(lake: Lake) -> None:
    lake.publish(EVENTS, lake.events(TWO, 0, 9), TWO, run_id="live")
    folder = Path(load_handle(lake.project, EVENTS).location().removeprefix("file://")) / "data"
    old, young = folder / "orphan_old.parquet", folder / "orphan_young.parquet"
    long_ago = (_now() - timedelta(days=10)).timestamp()
    for file in (old, young):
        file.write_text("left behind by a killed writer")
    for file in folder.rglob("*.parquet"):
        if file != young:
            os.utime(file, (long_ago, long_ago))
    rows = lake.spark.table(f"iceberg.{EVENTS}").count()

    assert maintenance.remove_orphans(lake.project, lake.spark, _now(), tables=[EVENTS], **QUIET)[EVENTS] >= 1

    assert not old.exists()
    assert young.exists()
    assert lake.spark.table(f"iceberg.{EVENTS}").count() == rows


def test_ages_that_would_hurt_a_running_write_are_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="at least 3 days old"):
        maintenance.remove_orphans(lake.project, lake.spark, _now(), older_than_days=1)
    with pytest.raises(ConfigError, match="younger than 1 day"):
        maintenance.expire(lake.project, lake.spark, _now(), keep_days=0.5)


def test_quarantined_rows_go_after_their_retention(lake: Lake) -> None:
    rows = [
        {
            "experiment_id": ONE,
            "dataset": "outcomes",
            "source_file": "a.parquet",
            "row_hash": name,
            "rule": "value is finite",
            "row": "{}",
            "first_run_id": "r",
            "first_seen_at": _now() - timedelta(days=age),
            "count": 1,
        }
        for name, age in (("old", 181), ("young", 179))
    ]
    replace_rows(lake.project, "ops.quarantine", {"experiment_id": ONE}, rows)
    maintenance.drop_old_quarantine(lake.project, _now(), **QUIET)
    left = load_handle(lake.project, "ops.quarantine").scan().to_arrow()["row_hash"].to_pylist()
    assert left == ["young"]
