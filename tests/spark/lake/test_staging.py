"""A large table is written once, unseen, audited from its files, then moved: what `publish` promises holds here too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from tests.lakes import CANONICAL, DT, ONE, TWO, Lake
from tests.stages import made_of, opened

from exp_platform.errors import ContractViolation, FencedConflict, Superseded
from exp_platform.lake.publication import Origin, fence_of
from exp_platform.lake.row_audit import AuditRefused, Finding, Part, Scope
from exp_platform.lake.staging import NullRefused, commit_staged, discard, laid_out, stage
from exp_platform.lake.tables import TABLES
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.context import StageContext, branch_of_run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = pytest.mark.spark

COHORT = "gold.fct_experiment_cohort"
UNITS = "gold.fct_experiment_unit_outcomes"
LATER = date(2026, 2, 5)


@contextmanager
def context(lake: Lake, run_id: str, dt: date = DT, made: str = "", **options: Any) -> Iterator[StageContext]:
    with opened(
        lake.project, ONE, dt, run_id, made_of("build_unit_outcomes", *made.split()), spark=lake.spark, **options
    ) as ctx:
        yield ctx


def units(lake: Lake, users: int, *more: str, **columns: str) -> DataFrame:
    """Sound unit rows, some columns by another expression, and further user ids."""
    values = {
        "variant_id": "'control'",
        "anchor_utc": "timestamp'2026-01-05 10:00:00'",
        "cohort_date": "date'2026-01-05'",
        "unit_bucket": "1",
        "metrics": "map('revenue', 2.0d, 'visits', cast(null as double))",
        "covariates": "map('revenue', 1.0d)",
        "did_pre": "map('revenue', 1.0d)",
        "mature": "map('revenue', true)",
        "dimensions": "map('country', 'DE')",
    } | columns
    ids = lake.spark.range(users).selectExpr("cast(id as string) as user_id")
    if more:
        ids = ids.union(lake.spark.createDataFrame([(user,) for user in more], "user_id string"))
    rows = ids.selectExpr(f"'{ONE}' as experiment_id", "user_id", *(f"{sql} as {c}" for c, sql in values.items()))
    return lake.filled(UNITS, rows)


def branches(lake: Lake, table: str = UNITS) -> list[str]:
    return [name for name in lake.handle(table).metadata.refs if name.startswith("staging_")]


def refused(lake: Lake, frame: DataFrame, pattern: str, **options: Any) -> AuditRefused:
    """The refusal, which leaves the rows before, no staging branch, and its findings where people look for them."""
    last = lake.handle(UNITS).current_snapshot().summary
    if last is None or last.additional_properties.get("run_id") != "sound":  # the test before has left other rows
        with context(lake, "sound") as ctx:
            ctx.publish(UNITS, units(lake, 3))
    with pytest.raises(ContractViolation, match=pattern) as found, context(lake, "broken", **options) as ctx:
        ctx.publish(UNITS, frame)
    assert lake.count(UNITS, ONE) == 3
    assert branches(lake) == []
    assert isinstance(found.value, AuditRefused)
    return found.value


def test_rows_land_whole_say_whose_they_are_and_leave_no_branch(lake: Lake) -> None:
    with context(lake, "before") as ctx:
        ctx.publish(UNITS, units(lake, 50))
    with context(lake, "first") as ctx:
        done = ctx.publish(UNITS, units(lake, 40))
    assert (done.rows, lake.count(UNITS, ONE), branches(lake)) == (40, 40, [])
    snapshot = lake.handle(UNITS).snapshot_by_id(done.snapshot_id)
    assert snapshot is not None and snapshot.summary is not None
    said = snapshot.summary.additional_properties
    assert (said["rows"], said["mode"], said["run_id"], said["stage"]) == (
        "40",
        "overwrite",
        "first",
        "build_unit_outcomes",
    )


def test_an_empty_result_empties_the_experiment_after_its_audit(lake: Lake) -> None:
    seen: list[int] = []

    def look(frame: Any, *_: Any) -> list[Finding]:
        seen.append(frame.count())
        return []

    with context(lake, "full", audit=look) as ctx:
        assert ctx.publish(UNITS, units(lake, 5)).rows == 5
    with context(lake, "empty", audit=look) as ctx:
        assert ctx.publish(UNITS, units(lake, 0)).rows == 0
    assert lake.count(UNITS, ONE) == 0
    assert seen == [5, 0], "no row where rows are due is a finding like any other"


def test_the_audit_of_the_stage_sees_the_rows_before_anybody_else(lake: Lake) -> None:
    fault = Finding("rows add up", False, "critical", 2, sample=("user_id=7",))
    found = refused(lake, units(lake, 9), r"rows add up \(2 rows\), for example user_id=7", audit=lambda *_: [fault])
    assert fault in found.findings


@pytest.fixture(params=["few rows", "many rows"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are audited by one query, many by two."""
    if request.param == "many rows":
        monkeypatch.setattr("exp_platform.lake.publish.FEW_ROWS", 0)


@pytest.mark.usefixtures("size")
def test_a_key_that_is_there_twice_is_found_in_the_files(lake: Lake) -> None:
    reason = rf"{UNITS}: one row per experiment_id × user_id \(2 rows\), for example user_id=1"
    refused(lake, units(lake, 3, "1", "1"), reason)


@pytest.mark.usefixtures("size")
def test_rows_of_another_experiment_are_found(lake: Lake) -> None:
    other = units(lake, 4).withColumn("experiment_id", F.expr(f"if(user_id = '2', '{TWO}', experiment_id)"))
    refused(lake, other, rf"experiment_id is only {ONE} \(1 rows\), for example user_id=2")


@pytest.mark.parametrize("column", ["variant_id", "unit_bucket", "metrics", "mature", "dimensions"])
def test_the_writer_refuses_null_in_a_required_column_flat_or_nested(lake: Lake, column: str) -> None:
    """That is why the audit of staged rows need not read required maps; the message is the audit's all the same."""
    sound = {
        "variant_id": "'control'",
        "unit_bucket": "1",
        "metrics": "map('revenue', 2.0d)",
        "mature": "map('revenue', true)",
        "dimensions": "map('country', 'DE')",
    }
    broken = units(lake, 5, **{column: f"if(user_id = '3', null, {sound[column]})"})
    handle = lake.handle(UNITS)
    with pytest.raises(NullRefused, match=f"{UNITS}: null in {column}"):
        stage(laid_out(broken, TABLES[UNITS]), TABLES[UNITS], Scope(ONE, DT), handle, fence_of(handle, "main"))
    assert branches(lake) == []
    refused(lake, broken, rf"{column} is never null \(1 rows\), for example user_id=3")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    ("column", "sql"),
    [("metrics", "map('revenue', 1d, 'x', {})"), ("did_pre", "map('revenue', {})")],
)
def test_a_number_that_is_none_is_found_inside_maps(lake: Lake, column: str, sql: str, value: str) -> None:
    number = f"if(user_id = '3', double('{value}'), cast(null as double))"
    rows = units(lake, 5).withColumn(column, F.expr(sql.format(number)))
    refused(lake, rows, rf"{column} is finite \(1 rows\), for example user_id=3")


def test_a_gap_in_the_schema_is_named_before_anything_is_written(lake: Lake) -> None:
    refused(lake, units(lake, 3).drop("unit_bucket"), "column 'unit_bucket' is missing")


def test_a_rerun_finds_the_publication_and_a_full_refresh_writes_anew(lake: Lake) -> None:
    lake.publish(CANONICAL, lake.canonical(ONE, 3), ONE, run_id="input")

    def run(run_id: str, **options: Any) -> tuple[int, bool]:
        with context(lake, run_id, made=CANONICAL, options=options) as ctx:
            done = ctx.publish(COHORT, cohort(lake, 3))
            return done.snapshot_id, done.repeated

    first, repeated = run("yesterday")
    assert not repeated
    snapshots = len(lake.handle(COHORT).metadata.snapshots)
    assert run("today") == (first, True)
    assert len(lake.handle(COHORT).metadata.snapshots) == snapshots
    anew, repeated = run("today", full_refresh=True)
    assert (anew != first, repeated) == (True, False)


def cohort(lake: Lake, users: int) -> DataFrame:
    return lake.canonical(ONE, users).selectExpr(
        "experiment_id",
        "user_id",
        "variant_id",
        "assignment_time_utc",
        "assignment_time_utc as anchor_utc",
        "date'2026-01-05' as cohort_date",
        "true as included",
        "cast(null as string) as exclusion_reason",
        "map('country', 'DE') as dimensions",
    )


def test_a_run_with_an_older_dt_writes_to_its_branch_and_finds_it_there(lake: Lake) -> None:
    with context(lake, "latest", dt=LATER) as ctx:
        ctx.publish(UNITS, units(lake, 7))
    branch = branch_of_run(ONE, "older")

    def run(users: int, **options: Any) -> Any:
        with context(lake, "older", made=CANONICAL, options=options) as ctx:
            assert ctx.read.branch == branch
            return ctx.publish(UNITS, units(lake, users))

    first = run(2)
    assert (lake.count(UNITS, ONE), lake.count(UNITS, ONE, ref=branch)) == (7, 2)
    assert run(2).snapshot_id == first.snapshot_id
    assert not run(4, full_refresh=True).repeated
    assert (lake.count(UNITS, ONE), lake.count(UNITS, ONE, ref=branch)) == (7, 4)
    assert branches(lake) == []

    with pytest.raises(ContractViolation, match="one row per"), context(lake, "older") as ctx:
        ctx.publish(UNITS, units(lake, 3, "1"))
    assert lake.count(UNITS, ONE, ref=branch) == 4
    assert branches(lake) == []


@pytest.mark.parametrize("branch", ["main", "backfill_race"])
def test_of_two_writers_of_an_experiment_the_second_to_commit_is_refused_on_either_branch(
    lake: Lake, branch: str
) -> None:
    early = lake.handle(UNITS)
    summary = Origin("r", "build_unit_outcomes", DT, "config", "code").summary()

    def written(users: int, handle: Any) -> Any:
        rows = laid_out(units(lake, users), TABLES[UNITS])
        return stage(rows, TABLES[UNITS], Scope(ONE, DT), handle, fence_of(handle, branch))

    slow = written(6, early)
    quick = written(5, lake.handle(UNITS))
    commit_staged(quick, "overwrite", summary, branch)
    with pytest.raises(FencedConflict, match=f"{UNITS}: rows of {ONE} were changed by another writer"):
        commit_staged(slow, "overwrite", summary, branch)
    for staged in (slow, quick):
        discard(staged)
    assert lake.count(UNITS, ONE, ref=None if branch == "main" else branch) == 5
    assert branches(lake) == []


def test_of_two_writers_that_only_add_rows_the_second_to_commit_is_refused(lake: Lake) -> None:
    """Nothing is deleted by either, so that the rows which the first one has added are the only sign of it."""
    early, before = lake.handle(UNITS), lake.count(UNITS, ONE)
    summary = Origin("r", "build_unit_outcomes", DT, "config", "code").summary()
    slow, quick = (
        stage(
            laid_out(units(lake, users), TABLES[UNITS]), TABLES[UNITS], Scope(ONE, DT), handle, fence_of(handle, "main")
        )
        for users, handle in ((6, early), (5, lake.handle(UNITS)))
    )
    commit_staged(quick, "append", summary)
    with pytest.raises(FencedConflict, match=f"{UNITS}: rows of {ONE} were changed by another writer"):
        commit_staged(slow, "append", summary)
    for staged in (slow, quick):
        discard(staged)
    assert (lake.count(UNITS, ONE), branches(lake)) == (before + 5, [])


def test_each_bucket_is_one_file_wherever_the_rows_come_from(lake: Lake) -> None:
    lake.publish(CANONICAL, lake.canonical(ONE, 400), ONE, run_id="buckets")
    assigned = lake.spark.table(f"iceberg.{CANONICAL}").where(f"experiment_id = '{ONE}'")
    assert laid_out(assigned, TABLES[COHORT]) is assigned, "the buckets of one table are those of the other"

    with context(lake, "layout", dt=LATER) as ctx:
        ctx.publish(UNITS, units(lake, 400).repartition(16))
    files = lake.spark.table(f"iceberg.{UNITS}.files").where(f"partition.experiment_id = '{ONE}'").collect()
    assert sorted(row["partition"]["user_id_bucket"] for row in files) == [0, 1, 2, 3]


FIFTH, SIXTH, SEVENTH = (date(2026, 1, day) for day in (5, 6, 7))


def on_date(lake: Lake, users: int, day: date, prefix: str = "u") -> DataFrame:
    rows = units(lake, users, cohort_date=f"date'{day}'", anchor_utc=f"timestamp'{day} 10:00:00'")
    return rows.withColumn("user_id", F.concat(F.lit(f"{prefix}{day.day}_"), "user_id"))


def part(*days: date) -> Part:
    return Part("cohort_date", frozenset(days))


def of_dates(lake: Lake, ref: str | None = None) -> dict[date, int]:
    reader = lake.spark.read.option("branch", ref) if ref else lake.spark.read
    rows = reader.table(f"iceberg.{UNITS}").where(f"experiment_id = '{ONE}'").groupBy("cohort_date").count().collect()
    return {row["cohort_date"]: row["count"] for row in rows}


def files_of(lake: Lake, day: date) -> set[str]:
    files = lake.spark.table(f"iceberg.{UNITS}.files").where(f"partition.experiment_id = '{ONE}'")
    return {row["file_path"] for row in files.where(f"partition.cohort_date = date'{day}'").collect()}


def three_dates(lake: Lake) -> None:
    with context(lake, "all dates", dt=LATER) as ctx:
        rows = on_date(lake, 20, FIFTH).unionByName(on_date(lake, 20, SIXTH)).unionByName(on_date(lake, 20, SEVENTH))
        ctx.publish(UNITS, rows)


def test_a_part_is_replaced_and_the_files_of_other_dates_stay(lake: Lake) -> None:
    three_dates(lake)
    kept, replaced = files_of(lake, SIXTH), files_of(lake, FIFTH)
    seen: list[int] = []

    def look(frame: Any, *_: Any) -> list[Finding]:
        seen.append(frame.count())
        return []

    with context(lake, "part", dt=LATER, audit=look) as ctx:
        done = ctx.publish(UNITS, on_date(lake, 9, FIFTH, "other"), part=part(FIFTH, SEVENTH))
    assert of_dates(lake) == {FIFTH: 9, SIXTH: 20}, "a date without new rows is empty"
    assert files_of(lake, SIXTH) == kept
    assert files_of(lake, FIFTH).isdisjoint(replaced)
    assert seen == [29], "the suite sees what stays beside what is new"
    assert (done.rows, branches(lake)) == (29, [])
    snapshot = lake.handle(UNITS).snapshot_by_id(done.snapshot_id)
    assert snapshot is not None and snapshot.summary is not None
    assert snapshot.summary.additional_properties["rows"] == "29"


def test_no_date_at_all_is_a_publication_that_changes_no_row(lake: Lake) -> None:
    three_dates(lake)
    with context(lake, "nothing", dt=LATER) as ctx:
        done = ctx.publish(UNITS, units(lake, 0), part=part())
    assert (done.rows, of_dates(lake)) == (60, {FIFTH: 20, SIXTH: 20, SEVENTH: 20})
    assert lake.handle(UNITS).current_snapshot().snapshot_id == done.snapshot_id  # type: ignore[union-attr]


def test_a_unit_that_would_stand_on_two_dates_is_found_beside_what_stays(lake: Lake) -> None:
    three_dates(lake)
    twice = on_date(lake, 3, FIFTH).withColumn("user_id", F.concat(F.lit("u6_"), F.col("user_id").substr(4, 9)))
    with (
        pytest.raises(ContractViolation, match="one row per experiment_id × user_id"),
        context(lake, "twice", dt=LATER) as ctx,
    ):
        ctx.publish(UNITS, twice, part=part(FIFTH))
    assert of_dates(lake) == {FIFTH: 20, SIXTH: 20, SEVENTH: 20}
    assert branches(lake) == []


def test_a_writer_of_any_other_date_in_between_is_noticed(lake: Lake) -> None:
    """The rows that stay were audited together with the new rows, so they must still be there."""
    three_dates(lake)
    early, summary = lake.handle(UNITS), Origin("r", "build_unit_outcomes", DT, "config", "code").summary()

    def written(handle: Any, day: date) -> Any:
        fence = fence_of(handle, "main")
        rows = laid_out(on_date(lake, 4, day), TABLES[UNITS])
        return stage(rows, TABLES[UNITS], Scope(ONE, DT), handle, fence, part=part(day))

    slow, quick = written(early, FIFTH), written(lake.handle(UNITS), SIXTH)
    commit_staged(quick, "overwrite", summary)
    with pytest.raises(FencedConflict, match=f"{UNITS}: rows of {ONE} were changed by another writer"):
        commit_staged(slow, "overwrite", summary)
    for staged in (slow, quick):
        discard(staged)
    assert of_dates(lake) == {FIFTH: 20, SIXTH: 4, SEVENTH: 20}


def test_a_writer_that_only_deletes_is_noticed_by_one_that_changes_no_date(lake: Lake) -> None:
    three_dates(lake)
    early, summary = lake.handle(UNITS), Origin("r", "build_unit_outcomes", DT, "config", "code").summary()
    nothing = laid_out(units(lake, 0), TABLES[UNITS])
    slow = stage(nothing, TABLES[UNITS], Scope(ONE, DT), early, fence_of(early, "main"), part=part())
    handle = lake.handle(UNITS)
    quick = stage(nothing, TABLES[UNITS], Scope(ONE, DT), handle, fence_of(handle, "main"), part=part(FIFTH))
    commit_staged(quick, "overwrite", summary)
    with pytest.raises(FencedConflict, match=f"{UNITS}: rows of {ONE} were changed by another writer"):
        commit_staged(slow, "overwrite", summary)
    for staged in (slow, quick):
        discard(staged)
    assert of_dates(lake) == {SIXTH: 20, SEVENTH: 20}


def test_the_row_writer_refuses_null_in_a_required_column_too(lake: Lake) -> None:
    handle, broken = lake.handle(COHORT), cohort(lake, 5).withColumn("variant_id", F.lit(None).cast("string"))
    with pytest.raises(Exception, match="NOT_NULL_ASSERT_VIOLATION"):
        stage(broken, TABLES[COHORT], Scope(ONE, DT), handle, fence_of(handle, "main"))
    assert branches(lake, COHORT) == []


def test_another_experiment_on_the_same_date_stays(lake: Lake) -> None:
    three_dates(lake)
    lake.publish(UNITS, on_date(lake, 5, FIFTH).withColumn("experiment_id", F.lit(TWO)), TWO, run_id="two")
    with context(lake, "part again", dt=LATER) as ctx:
        ctx.publish(UNITS, on_date(lake, 2, FIFTH), part=part(FIFTH))
    assert (lake.count(UNITS, ONE), lake.count(UNITS, TWO)) == (42, 5)


def test_a_run_that_has_lost_its_claim_moves_nothing(lake: Lake) -> None:
    claim(lake.project, ONE, "mine", DT, started_by="test")
    before = lake.count(UNITS, ONE)
    with pytest.raises(Superseded), context(lake, "mine", dt=LATER) as ctx:
        claim(lake.project, ONE, "theirs", DT, started_by="test")
        ctx.publish(UNITS, units(lake, 8))
    assert lake.count(UNITS, ONE) == before
    assert branches(lake) == []
