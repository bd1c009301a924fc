"""The next day's run reads new files, adds their events, and replaces a dataset whose old files changed."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.ingest_lake import DT, IngestLake, at

from exp_platform.errors import Superseded
from exp_platform.lake.row_audit import Finding, Part
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.stages import ingest_events

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame

    from exp_platform.lake.tables import Table

pytestmark = pytest.mark.spark
TIME = at("2026-01-06T10:00:00")
EVENT = ("exp.outcomes", "user_id", "value", "source_file")


def bought(lake: IngestLake, name: str, *values: float, time: str = "2026-01-06T10:00:00") -> Path:
    """An outcomes file with one event per value."""
    return lake.write("outcomes", [lake.row("outcomes", "u1", "revenue", v, at(time)) for v in values], name)


@pytest.fixture
def day_one(lake: IngestLake) -> IngestLake:
    """A lake that has been fed once: one outcome, of value 2, in b.parquet."""
    lake.write_healthy("assignments", "exposures")
    bought(lake, "b.parquet", 2.0)
    lake.run("r1")
    return lake


def path_of(lake: IngestLake, name: str) -> str:
    return f"{lake.folder}/outcomes/dt=2026-01-06/{name}"


def test_a_second_run_over_the_same_files_writes_nothing(day_one: IngestLake) -> None:
    before = day_one.snapshots("outcomes")
    files = day_one.rows("ops.ingested_files", "path", "run_id", "rows", "refused")
    lines = day_one.run("r2")
    assert day_one.snapshots("outcomes") == before
    assert day_one.rows("ops.ingested_files", "path", "run_id", "rows", "refused") == files
    assert len(files) == 3
    assert any("outcomes: read 0 files, reused 1 files" in line for line in lines)
    pinned = day_one.rows("ops.run_manifest", "table", "role", where="run_id = 'r2' AND table = 'exp.outcomes'")
    assert pinned == [("exp.outcomes", "read")]


def test_a_new_file_is_appended_minus_the_events_already_there(day_one: IngestLake) -> None:
    bought(day_one, "c.parquet", 2.0, 3.0)
    lines = day_one.run("r2")
    assert day_one.rows(*EVENT) == [
        ("u1", 2.0, path_of(day_one, "b.parquet")),
        ("u1", 3.0, path_of(day_one, "c.parquet")),
    ]
    assert any("outcomes: read 1 files, reused 1 files" in line for line in lines)
    assert day_one.findings("outcomes", "r2")["exact duplicates count once"] == (True, 1)
    ingested = day_one.rows("exp.outcomes", "value", "ingested_at")
    assert ingested[0][1] < ingested[1][1], "what was there is not written again"


def test_a_new_file_that_holds_an_old_event_under_a_smaller_path_gives_it_that_path(day_one: IngestLake) -> None:
    bought(day_one, "a.parquet", 2.0, 3.0)
    lines = day_one.run("r2")
    assert day_one.rows(*EVENT) == [
        ("u1", 2.0, path_of(day_one, "a.parquet")),
        ("u1", 3.0, path_of(day_one, "a.parquet")),
    ]
    assert any("read every file again" in line and "smaller path" in line for line in lines)
    assert day_one.refs("outcomes") == []


def test_a_changed_file_replaces_what_it_said_and_is_reported(day_one: IngestLake) -> None:
    bought(day_one, "c.parquet", 3.0)
    day_one.run("r2")
    bought(day_one, "b.parquet", 7.0)
    lines = day_one.run("r3")
    assert [row[1] for row in day_one.rows(*EVENT)] == [3.0, 7.0]
    assert day_one.findings("outcomes", "r3")["raw files do not change"] == (False, 1)
    assert any("read every file again: 1 changed" in line and "b.parquet" in line for line in lines)
    assert any("assignments: read 0 files" in line for line in lines), "other datasets are not touched"


def test_a_vanished_file_takes_its_events_with_it(day_one: IngestLake) -> None:
    other = bought(day_one, "c.parquet", 2.0, 3.0)
    day_one.run("r2")
    other.unlink()
    day_one.run("r3")
    assert day_one.rows(*EVENT) == [("u1", 2.0, path_of(day_one, "b.parquet"))]
    recorded = day_one.rows("ops.ingested_files", "path", where="dataset = 'outcomes'")
    assert recorded == [(path_of(day_one, "b.parquet"),)]


def test_attributes_that_vanish_leave_an_empty_table(day_one: IngestLake) -> None:
    path = day_one.write("attributes", [day_one.row("attributes", "u1", "country", "de", TIME)])
    day_one.run("r2")
    path.unlink()
    day_one.run("r3")
    assert day_one.users("attributes") == []


def test_a_late_event_is_absorbed_and_reported_and_dt_hides_nothing(day_one: IngestLake) -> None:
    bought(day_one, "c.parquet", 8.0, time="2026-01-07T23:59:59")  # dt + 1 day - 3 days is 2026-01-08
    bought(day_one, "d.parquet", 9.0, time="2026-01-08T00:00:00")
    bought(day_one, "e.parquet", 10.0, time="2027-01-01T00:00:00")
    day_one.run("r2")
    assert [row[1] for row in day_one.rows(*EVENT)] == [10.0, 2.0, 8.0, 9.0]
    assert day_one.findings("outcomes", "r2")["events arrive in time"] == (False, 1)


def test_an_older_dt_ingests_the_same(day_one: IngestLake) -> None:
    bought(day_one, "c.parquet", 3.0)
    day_one.run("backfill", dt=at("2026-01-05T00:00:00").date())
    assert [row[1] for row in day_one.rows(*EVENT)] == [2.0, 3.0]


def test_events_do_not_depend_on_the_order_in_which_files_came(day_one: IngestLake) -> None:
    bought(day_one, "c.parquet", 3.0, 2.0)
    day_one.run("r2")
    bought(day_one, "a.parquet", 3.0, 4.0)
    day_one.run("r3")
    incremental = day_one.rows(*EVENT)
    day_one.run("r4", full_refresh=True)
    assert day_one.rows(*EVENT) == incremental


def test_an_arm_that_is_switched_off_later_has_its_events_refused(day_one: IngestLake) -> None:
    arms = [{"id": "control", "allocation": 0.5, "is_control": True}, {"id": "other", "allocation": 0.5}]
    changed = day_one.with_experiment(day_one.experiment_id, variants=arms)
    lines = changed.run("r2")
    assert changed.users("assignments") == ["u1"]
    assert changed.refused("assignments") == [("unknown_variant", 1)]
    assert any("the contract, the variants or the mapping changed" in line for line in lines)
    assert any("outcomes: read 1 files" in line for line in lines)


def test_the_bad_fraction_counts_the_files_read_before(day_one: IngestLake) -> None:
    day_one.write("assignments", [day_one.row("assignments", None, "control", TIME, "user")], "bad.parquet")
    day_one.run("r2")
    assert day_one.findings("assignments", "r2")["rows are valid"] == (True, 1)  # 1 of 3, allowed are 50%
    day_one.write("assignments", [day_one.row("assignments", None, "control", TIME, "user")], "same.parquet")
    day_one.run("r3")
    assert day_one.findings("assignments", "r3")["rows are valid"] == (True, 1)  # the same row again: still one
    assert day_one.refused("assignments") == [("null_user_id", 1), ("null_user_id", 1)]
    first_seen = day_one.rows("ops.quarantine", "source_file", "first_run_id")
    assert [run for _, run in first_seen] == ["r2", "r3"]


def test_a_refused_row_that_is_mended_leaves_the_quarantine(day_one: IngestLake) -> None:
    path = day_one.write("assignments", [day_one.row("assignments", None, "control", TIME, "user")], "bad.parquet")
    day_one.run("r2")
    path.unlink()
    day_one.run("r3")
    assert day_one.refused("assignments") == []


def test_two_experiments_do_not_touch_each_other(day_one: IngestLake) -> None:
    other = replace(day_one.with_experiment(f"{day_one.experiment_id}_2"))
    other.write_healthy()
    before = day_one.rows(*EVENT)
    other.run("r1")
    assert day_one.rows(*EVENT) == before
    assert other.users("outcomes") == ["u1", "u2"]
    path = bought(other, "c.parquet", 5.0)
    os.utime(path, ns=(1, 1))
    other.run("r2")
    other.run("r3", full_refresh=True)
    assert day_one.rows(*EVENT) == before


def test_a_new_file_without_news_is_no_table_without_rows(day_one: IngestLake) -> None:
    """The suite warns of an empty table; what an append adds is not the table."""
    audited: list[str] = []

    def audit(frame: DataFrame, table: Table, _: Part | None) -> list[Finding]:
        audited.append(table.name)
        return [Finding("there are rows", frame.count() > 0, "warning", 0)]

    def run(run_id: str) -> None:
        with day_one.context(run_id, audit=audit) as ctx:
            ingest_events.run(ctx)

    bought(day_one, "c.parquet", 2.0)
    bought(day_one, "d.parquet")
    run("r2")
    assert day_one.rows(*EVENT) == [("u1", 2.0, path_of(day_one, "b.parquet"))]
    assert day_one.findings("outcomes", "r2")["there are rows"] == (True, 0)
    assert audited == []
    bought(day_one, "e.parquet", 3.0)
    run("r3")
    assert audited == ["exp.outcomes"]


def test_a_time_in_the_wrong_unit_refuses_its_row_on_any_day(day_one: IngestLake) -> None:
    """Microseconds that were written as milliseconds: the year 57,985, which no date can hold."""
    micros = int(at("2026-01-06T10:00:00").timestamp() * 1_000_000)
    wrong = pa.array([micros], pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    table = pa.table({"experiment_id": [day_one.experiment_id], "user_id": ["u9"], "metric_name": ["revenue"]})
    day_one.write_table(
        "outcomes", table.append_column("value", [[1.0]]).append_column("outcome_ts", wrong), "c.parquet"
    )
    bought(day_one, "d.parquet", 3.0)
    day_one.run("r2")
    assert [row[1] for row in day_one.rows(*EVENT)] == [2.0, 3.0]
    assert day_one.refused("outcomes") == [("out_of_range_outcome_ts", 1)]
    day_one.run("r3", full_refresh=True)
    assert day_one.refused("outcomes") == [("out_of_range_outcome_ts", 1)]


def test_the_first_and_the_last_day_that_there_are_hold_events_like_any_other(day_one: IngestLake) -> None:
    """Both stand for "none" in many systems."""
    for name in ("c.parquet", "d.parquet"):
        for time in ("0001-01-01T00:00:00", "1582-10-10T00:00:00", "9999-12-31T23:59:59.999999"):
            bought(day_one, f"{time[:4]}{name}", 3.0, time=time)
        day_one.run(name)
    held = ["0001-01-01T00:00:00.000000", "1582-10-10T00:00:00.000000"]
    held += ["2026-01-06T10:00:00.000000", "9999-12-31T23:59:59.999999"]
    assert [time for (time,) in day_one.rows("exp.outcomes", "outcome_ts")] == held


def test_rules_that_have_become_stricter_judge_what_was_read_before(
    day_one: IngestLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("outcomes: read 0 files" in line for line in day_one.run("r2"))
    monkeypatch.setattr("exp_platform.pipelines.examine.RULES_VERSION", 99)
    lines = day_one.run("r3")
    assert any("outcomes: read 1 files" in line for line in lines)
    assert any("the contract, the variants or the mapping changed" in line for line in lines)


def test_a_run_that_has_lost_its_claim_adds_no_event(lake: IngestLake) -> None:
    lake.write_healthy()
    lake.run("first")
    lake.write("outcomes", [lake.row("outcomes", "u9", "revenue", 1.0, at("2026-01-06T11:00:00"))], "new.parquet")
    claim(lake.project, lake.experiment_id, "slow", DT, started_by="test")
    with pytest.raises(Superseded, match="superseded by run quick"), lake.context("slow") as slow:
        claim(lake.project, lake.experiment_id, "quick", DT, started_by="test")
        ingest_events.run(slow)
    assert lake.users("outcomes") == ["u1", "u2"]
