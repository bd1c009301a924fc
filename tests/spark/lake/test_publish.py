"""The promises of a publication, for both writing engines."""

from __future__ import annotations

from datetime import date

import pytest
from pyspark.sql import functions as F
from tests.lakes import CANONICAL, DELTAS, DT, EVENTS, ONE, TWO, Lake

from exp_platform.errors import ContractViolation, FencedConflict
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.row_audit import AuditRefused, Finding
from exp_platform.lake.tables import RUN_COLUMNS, TABLES

pytestmark = pytest.mark.spark
BOTH_ENGINES = pytest.mark.parametrize("table", [CANONICAL, DELTAS])


@BOTH_ENGINES
def test_publishing_one_experiment_leaves_the_files_of_another_untouched(lake: Lake, table: str) -> None:
    lake.publish(table, lake.frame(table, TWO, 3), TWO)
    before = lake.files(table, TWO)

    lake.publish(table, lake.frame(table, ONE, 5), ONE)
    lake.publish(table, lake.frame(table, ONE, 4), ONE, run_id="again")

    assert before
    assert lake.files(table, TWO) == before
    assert lake.count(table, ONE) == 4


@BOTH_ENGINES
def test_an_empty_result_empties_the_experiment_and_no_other(lake: Lake, table: str) -> None:
    lake.publish(table, lake.frame(table, TWO, 3), TWO, run_id="full")
    lake.publish(table, lake.frame(table, ONE, 5), ONE, run_id="full")

    done = lake.publish(table, lake.frame(table, ONE, 0), ONE, run_id="empty")

    assert done.rows == 0
    assert (lake.count(table, ONE), lake.count(table, TWO)) == (0, 3)


@BOTH_ENGINES
def test_a_writer_that_started_before_another_one_of_its_experiment_committed_is_refused(
    lake: Lake, table: str
) -> None:
    stale = lake.handle(table)
    lake.publish(table, lake.frame(table, ONE, 6), ONE, run_id="newer")

    with pytest.raises(FencedConflict, match=f"{table}: rows of {ONE} were changed by another writer"):
        lake.publish(table, lake.frame(table, ONE, 2), ONE, run_id="older", handle=stale)

    assert lake.count(table, ONE) == 6


@BOTH_ENGINES
def test_a_commit_of_another_experiment_is_no_conflict(lake: Lake, table: str) -> None:
    early = lake.handle(table)
    lake.publish(table, lake.frame(table, TWO, 7), TWO, run_id="other")

    lake.publish(table, lake.frame(table, ONE, 2), ONE, run_id="mine", handle=early)

    assert (lake.count(table, ONE), lake.count(table, TWO)) == (2, 7)


@BOTH_ENGINES
def test_the_same_publication_a_second_time_is_found_and_adds_no_snapshot(lake: Lake, table: str) -> None:
    frame = lake.frame(table, ONE, 3)
    first = lake.publish(table, frame, ONE, run_id="twice", inputs={"exp.assignments": 7})
    snapshots = len(lake.handle(table).metadata.snapshots)

    second = lake.publish(table, frame, ONE, run_id="twice", inputs={"exp.assignments": 7})

    assert second.repeated
    assert (second.snapshot_id, second.rows) == (first.snapshot_id, 3)
    assert len(lake.handle(table).metadata.snapshots) == snapshots


@BOTH_ENGINES
def test_another_run_finds_it_too_unless_nothing_says_what_the_rows_were_made_of(lake: Lake, table: str) -> None:
    frame, read = lake.frame(table, ONE, 3), {"exp.assignments": 70}
    first = lake.publish(table, frame, ONE, run_id="yesterday", inputs=read)
    named = not RUN_COLUMNS.isdisjoint(TABLES[table].columns)

    second = lake.publish(table, frame, ONE, run_id="today", inputs=read)
    assert second.repeated is not named, "rows that name their run are written by each run"
    assert named or (second.snapshot_id, second.run_id) == (first.snapshot_id, "yesterday")

    lake.publish(table, frame, ONE, run_id="a")
    assert not lake.publish(table, frame, ONE, run_id="b").repeated, "no table was read"


def test_rows_that_somebody_removed_by_hand_are_published_again(lake: Lake) -> None:
    frame, read = lake.frame(CANONICAL, ONE, 3), {"exp.assignments": 71}
    lake.publish(CANONICAL, frame, ONE, run_id="yesterday", inputs=read)
    lake.spark.sql(f"DELETE FROM iceberg.{CANONICAL} WHERE experiment_id = '{ONE}'")
    assert not lake.publish(CANONICAL, frame, ONE, run_id="today", inputs=read).repeated
    assert lake.count(CANONICAL, ONE) == 3


@BOTH_ENGINES
def test_other_inputs_or_a_publication_in_between_are_published_anew(lake: Lake, table: str) -> None:
    frame = lake.frame(table, ONE, 3)
    lake.publish(table, frame, ONE, run_id="mine", inputs={"exp.assignments": 7})

    assert not lake.publish(table, frame, ONE, run_id="mine", inputs={"exp.assignments": 8}).repeated
    lake.publish(table, lake.frame(table, ONE, 1), ONE, run_id="other")
    assert not lake.publish(table, frame, ONE, run_id="mine", inputs={"exp.assignments": 8}).repeated
    assert lake.count(table, ONE) == 3


@BOTH_ENGINES
def test_a_run_with_an_older_dt_writes_to_its_branch_and_main_stays(lake: Lake, table: str) -> None:
    lake.publish(table, lake.frame(table, ONE, 5), ONE, run_id="latest")

    handle = lake.handle(table)
    done = lake.publish(table, lake.frame(table, ONE, 2), ONE, run_id="older", branch="backfill_x", handle=handle)
    again = lake.publish(table, lake.frame(table, ONE, 3), ONE, run_id="older", branch="backfill_x", inputs={"a": 1})

    assert lake.count(table, ONE) == 5
    assert lake.count(table, ONE, ref="backfill_x") == 3
    assert done.snapshot_id != again.snapshot_id


def test_a_table_with_dt_replaces_that_dt_only(lake: Lake) -> None:
    monday, tuesday = date(2026, 3, 2), date(2026, 3, 3)
    lake.publish(DELTAS, lake.deltas(ONE, 4, monday), ONE, dt=monday)
    lake.publish(DELTAS, lake.deltas(ONE, 2, tuesday), ONE, dt=tuesday)

    lake.publish(DELTAS, lake.deltas(ONE, 1, monday), ONE, dt=monday, run_id="again")

    rows = lake.spark.table(f"iceberg.{DELTAS}").where(F.col("dt") >= F.lit(monday)).groupBy("dt").count().collect()
    assert {row["dt"]: row["count"] for row in rows} == {monday: 1, tuesday: 2}


@BOTH_ENGINES
@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ("key_twice", "one row per experiment_id × .* \\(1 rows\\), for example"),
        ("other_experiment", f"experiment_id is only {ONE} \\(1 rows\\)"),
        ("null_key", "variant_id is never null \\(1 rows\\)"),
    ],
)
def test_a_broken_result_is_refused_and_the_rows_before_stay(
    lake: Lake, table: str, break_it: str, reason: str
) -> None:
    lake.publish(table, lake.frame(table, ONE, 3), ONE, run_id="sound")
    broken = {
        "key_twice": lambda: _more(lake, table, lake.frame(table, ONE, 1), {}),
        "other_experiment": lambda: _more(lake, table, lake.frame(table, TWO, 1), {}),
        "null_key": lambda: _more(lake, table, lake.frame(table, ONE, 9), {"variant_id": None}),
    }[break_it]()

    with pytest.raises(ContractViolation, match=f"{table}: .*{reason}"):
        lake.publish(table, broken, ONE, run_id="broken")

    assert lake.count(table, ONE) == 3


def _more(lake: Lake, table: str, extra: object, change: dict[str, object]) -> object:
    """Three sound rows and one more: the last of `extra`, changed."""
    sound = lake.frame(table, ONE, 3)
    if isinstance(extra, list):
        return [*sound, extra[-1] | change]
    last = extra.orderBy(F.col("user_id").desc()).limit(1)  # type: ignore[attr-defined]
    for column, value in change.items():
        last = last.withColumn(column, F.lit(value).cast("string"))
    return sound.unionByName(last)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused_wherever_it_hides(lake: Lake, value: float) -> None:
    rows = lake.deltas(ONE, 1)
    rows[0]["delta"] = value
    with pytest.raises(ContractViolation, match="delta is finite"):
        lake.publish(DELTAS, rows, ONE, run_id="nan")

    table = "gold.fct_experiment_unit_outcomes"
    units = lake.spark.sql(f"""
        SELECT '{ONE}' AS experiment_id, 'u' AS user_id, 'control' AS variant_id,
               timestamp'2026-01-05 10:00:00' AS anchor_utc, date'2026-01-05' AS cohort_date, 1 AS unit_bucket,
               map('revenue', double('{value}'), 'visits', 1.0d) AS metrics,
               map('revenue', 1.0d) AS covariates, map('revenue', 1.0d) AS did_pre,
               map('revenue', true) AS mature, map('country', 'DE') AS dimensions""")
    with pytest.raises(ContractViolation, match="metrics is finite"):
        lake.publish(table, lake.filled(table, units), ONE, run_id="nan")


def test_every_gap_in_the_schema_is_named_at_once(lake: Lake) -> None:
    frame = lake.canonical(ONE, 1).drop("user_id").withColumn("n_variants", F.lit("1")).withColumn("extra", F.lit(1))
    with pytest.raises(ContractViolation) as refused:
        lake.publish(CANONICAL, frame, ONE)
    for gap in (
        "column 'user_id' is missing",
        "column 'n_variants' is string, expected bigint",
        "column 'extra' is not declared",
    ):
        assert gap in str(refused.value)


@BOTH_ENGINES
def test_a_failed_critical_expectation_blocks_and_a_warning_does_not(lake: Lake, table: str) -> None:
    lake.publish(table, lake.frame(table, ONE, 3), ONE, run_id="sound")
    doubt = Finding("rows look right", False, "warning", 1)
    fault = Finding("rows add up", False, "critical", 2, sample=("user_id=7",), detail="found 1, expected 2")

    with pytest.raises(AuditRefused, match=r"rows add up \(2 rows\), for example user_id=7: found 1, expected 2"):
        lake.publish(table, lake.frame(table, ONE, 4), ONE, run_id="blocked", audit=lambda *_: [doubt, fault])
    assert lake.count(table, ONE) == 3

    done = lake.publish(table, lake.frame(table, ONE, 4), ONE, run_id="warned", audit=lambda *_: [doubt])
    assert doubt in done.findings
    assert lake.count(table, ONE) == 4


def test_appended_events_join_those_that_are_there(lake: Lake) -> None:
    lake.append(TWO, 0, 4)
    lake.append(ONE, 0, 10)
    lake.append(ONE, 10, 15)

    assert (lake.count(EVENTS, ONE), lake.count(EVENTS, TWO)) == (15, 4)
    assert list(lake.handle(EVENTS).metadata.refs) == ["main"]


def test_two_writers_can_not_append_the_same_events_twice(lake: Lake) -> None:
    stale = lake.handle(EVENTS)
    lake.append(ONE, 100, 110, run_id="first")
    rows = lake.count(EVENTS, ONE)

    with pytest.raises(FencedConflict):
        lake.append(ONE, 100, 110, run_id="second", handle=stale)

    assert lake.count(EVENTS, ONE) == rows
    assert list(lake.handle(EVENTS).metadata.refs) == ["main"]


def test_the_snapshot_says_who_wrote_it_and_from_what(lake: Lake) -> None:
    done = lake.publish(CANONICAL, lake.canonical(ONE, 2), ONE, run_id="who", inputs={"exp.assignments": 12})
    snapshot = load_handle(lake.project, CANONICAL).snapshot_by_id(done.snapshot_id)
    assert snapshot is not None
    assert snapshot.summary is not None
    said = snapshot.summary.additional_properties
    assert (said["run_id"], said["stage"], said["dt"]) == ("who", "a_stage", DT.isoformat())
    assert (said["config_hash"], said["code_version"]) == ("config", "code")
    assert said["inputs"] == '{"exp.assignments": 12}'


def test_units_lie_sorted_in_buckets_of_their_experiment(lake: Lake) -> None:
    lake.publish(CANONICAL, lake.canonical(ONE, 400), ONE, run_id="layout")
    files = lake.spark.table(f"iceberg.{CANONICAL}.files").where(f"partition.experiment_id = '{ONE}'").collect()
    assert sorted(row["partition"]["user_id_bucket"] for row in files) == [0, 1, 2, 3]
    assert TABLES[CANONICAL].partition == ("experiment_id", "bucket(4, user_id)")


@BOTH_ENGINES
def test_a_publication_writes_no_checksum_files_beside_its_own(lake: Lake, table: str) -> None:
    lake.publish(table, lake.frame(table, ONE, 2), ONE, run_id="few files")
    assert lake.files(table, ONE)
    assert not list(lake.project.root.rglob("*.crc"))
