"""One stream for many experiments gives each of them the numbers that a copy of its own gives, to the byte."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from tests.stream_lake import LOGS, ONE, START, TWO, Both, day, make_both, random_rows, with_limit

from exp_platform.errors import ContractViolation, StreamBlocked, Superseded
from exp_platform.lake.catalog import load_handle
from exp_platform.ledger.claim import claim, current_claim
from exp_platform.ledger.manifest import failures
from exp_platform.ledger.pins import pin_inputs
from exp_platform.operations import maintenance
from exp_platform.operations.reproduce import reproduce
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.record import BLOCKED_BY_STREAM
from exp_platform.pipelines.registry import BY_NAME, INGEST_STREAMS
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import stream_run
from exp_platform.transforms import joins

KINDS = ("assignments", "exposures", "outcomes", "attributes")
pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def outcomes(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Two experiments with logs of their own, which read their outcomes from one stream; one of them is run."""
    return make_both(spark, tmp_path_factory.mktemp("outcomes"), {"outcomes": ["shop_events"]})  # type: ignore[arg-type]


def test_outcomes_of_a_stream_give_the_numbers_of_a_copy(outcomes: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events of users who are in no cohort are left out on the way, as where they are most of a large stream."""
    monkeypatch.setattr(joins, "EVENTS_FOR_A_UNIT", 0)
    random, project = Random(1), outcomes.copies.project
    for dataset in ("assignments", "exposures", "attributes"):
        rows = random_rows(random, project, dataset, 120, 0, 3)
        for lake in (outcomes.copies, outcomes.streamed):
            for one in (ONE, TWO):
                lake.experiment_id = one
                lake.write(dataset, [(one, *row) for row in rows[one]])
    outcomes.write("outcomes", random_rows(random, project, "outcomes", 400, -12, 4))
    outcomes.ingest("shop_events", "s1", day(2))
    outcomes.same("r1", day(2), (TWO,))


@pytest.fixture(scope="module")
def everything(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Two experiments that read all four datasets from streams, outcomes from two of them."""
    streams = {name: [f"all_{name}"] for name in ("assignments", "exposures", "outcomes", "attributes")}
    return make_both(spark, tmp_path_factory.mktemp("everything"), streams)  # type: ignore[arg-type]


def test_logs_outcomes_and_attributes_give_the_numbers_of_copies_as_files_come_and_go(everything: Both) -> None:
    """The streams' lake runs day by day, with what it may reuse; that of the copies computes the last day at once."""
    random, project, lake = Random(2), everything.copies.project, everything.streamed
    for dataset in KINDS:
        everything.write(dataset, random_rows(random, project, dataset, 200, 0 if dataset in LOGS else -12, 4))
        everything.ingest(f"all_{dataset}", "s1", day(2))
    everything.answers(lake, ONE, "r1", day(2))

    # A day later: late and early outcomes, more assignments.
    everything.write("outcomes", random_rows(random, project, "outcomes", 20, 3, 6), "b.parquet")
    everything.write("assignments", random_rows(random, project, "assignments", 30, 2, 4), "b.parquet")
    for dataset in ("outcomes", "assignments"):
        everything.ingest(f"all_{dataset}", "s2", day(3))
    everything.lines.clear()
    everything.same("r2", day(3), (ONE,))
    assert [line for line in everything.lines if "reused unit rows" in line], "only what is new is computed"

    # A file is re-stated, another is gone; the experiments run in another order.
    everything.write("outcomes", random_rows(random, project, "outcomes", 300, -12, 4))
    everything.remove("assignments", "b.parquet")
    for dataset in ("outcomes", "assignments"):
        everything.ingest(f"all_{dataset}", "s3", day(4))
    everything.same("r3", day(4), (TWO, ONE))


def test_a_run_on_streams_is_reproduced_from_the_snapshots_that_it_pinned(everything: Both) -> None:
    everything.write("outcomes", {ONE: [("u1", "never_read", 2.0, START)]}, "later.parquet")
    everything.ingest("all_outcomes", "s4", day(4))
    again = reproduce(everything.streamed.project, "r3", everything.streamed.spark)
    assert again.same, again.text()


def test_a_blocked_stream_stops_its_readers_and_a_mended_one_lets_them_go_on(everything: Both) -> None:
    lake = everything.streamed
    everything.write("exposures", {ONE: [(None, "control", START, "user")]}, "z.parquet")
    strict = replace(everything, streamed=replace(lake, project=with_limit(lake.project, 0.0)))
    with pytest.raises(ContractViolation, match=r"stream.all_exposures: raw data are refused.*null_user_id"):
        strict.ingest("all_exposures", "blocked", day(5))
    claim(lake.project, ONE, "r4", day(5), "test")
    run = Run(lake.project, ONE, day(5), "r4")
    with pytest.raises(StreamBlocked, match=f"{ONE}: stream all_exposures is blocked since dt {day(5)}"):
        run_stage(run, BY_NAME["ingest_events"], session=Session.given(lake.spark), say=lambda _: None)
    assert [row["status"] for row in failures(lake.project, ONE, "r4")] == [BLOCKED_BY_STREAM]

    everything.remove("exposures", "z.parquet")
    everything.ingest("all_exposures", "mended", day(5))
    run_stage(run, BY_NAME["ingest_events"], session=Session.given(lake.spark), say=lambda _: None)


def test_events_of_an_unregistered_experiment_are_kept_counted_and_no_error(everything: Both) -> None:
    lake = everything.streamed
    rows = {"elsewhere-42": [("u1", "blue", START, "user"), ("u2", "red", START, "user")]}
    everything.write("assignments", rows, "other.parquet")
    everything.ingest("all_assignments", "s5", day(5))
    findings = lake.spark.table("iceberg.ops.contract_results").where("run_id = 's5'")
    row = findings.where("expectation = 'experiment ids are in the registry'").collect()[0]
    assert (row["success"], row["severity"], row["unexpected_count"]) == (False, "warning", 2)
    assert "elsewhere-42 (2)" in row["detail"]
    held = lake.spark.table("iceberg.exp.stream_assignments").where("experiment_id = 'elsewhere-42'")
    assert held.count() == 2


def test_maintenance_compacts_the_files_of_a_stream(everything: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, owner, name = everything.streamed, "stream.all_outcomes", "exp.stream_outcomes"
    everything.write("outcomes", {ONE: [("u1", "never_read", 1.0, START)]}, "c.parquet")
    everything.ingest("all_outcomes", "s6", day(5))
    before = sorted(map(repr, lake.spark.table(f"iceberg.{name}").collect()))
    monkeypatch.setattr(maintenance, "SMALL_FILES", 2)
    handles = {table: load_handle(lake.project, table) for table in (name, "exp.outcomes")}
    claim(lake.project, owner, "upkeep", day(5), "test")
    done = maintenance._compact_experiment(lake.project, lake.spark, handles, owner, "upkeep", lambda _: None)
    assert done == [name]
    assert sorted(map(repr, lake.spark.table(f"iceberg.{name}").collect())) == before
    none = maintenance._compact_experiment(lake.project, lake.spark, {name: handles[name]}, ONE, "r4", lambda _: None)
    assert none == []


def test_a_run_of_a_stream_that_has_lost_its_claim_adds_no_event(everything: Both) -> None:
    lake, owner = everything.streamed, "stream.all_outcomes"
    rows = lake.spark.table("iceberg.exp.stream_outcomes").count()
    everything.write("outcomes", {ONE: [("u1", "never_read", 3.0, START)]}, "late.parquet")
    slow = stream_run(lake.project, "all_outcomes", day(6), "slow")

    def overtaken(_: str) -> None:
        holder = current_claim(lake.project, owner)
        if holder is not None and holder.run_id == "slow":
            claim(lake.project, owner, "quick", day(6), "test")

    with pytest.raises(Superseded, match=r"by run quick .*slow publishes nothing more for stream\.all_outcomes"):
        run_stage(slow, INGEST_STREAMS, session=Session.given(lake.spark), say=overtaken)
    assert lake.spark.table("iceberg.exp.stream_outcomes").count() == rows

    everything.ingest("all_outcomes", "quick", day(6))
    assert lake.spark.table("iceberg.exp.stream_outcomes").count() == rows + 1, "the file waits for the other run"


def test_expiry_keeps_the_snapshot_of_a_stream_that_a_reader_has_pinned(everything: Both) -> None:
    lake, name, now = everything.streamed, "exp.stream_outcomes", datetime.now(UTC)
    everything.write("outcomes", {ONE: [("u1", "never_read", 4.0, START)]}, "pinned.parquet")
    everything.ingest("all_outcomes", "s7", day(6))
    pinned = load_handle(lake.project, name).metadata.current_snapshot_id
    assert pinned is not None
    pin_inputs(lake.project, ONE, "r5", {name: pinned}, 90, now)
    at_pin = lake.spark.table(f"iceberg.{name}").count()
    for number in range(2):
        everything.write("outcomes", {ONE: [("u1", "never_read", 5.0 + number, START)]}, f"after_{number}.parquet")
        everything.ingest("all_outcomes", f"s{8 + number}", day(6))

    maintenance.expire(lake.project, lake.spark, now + timedelta(days=30), log=lambda _: None, tables=[name])

    handle = load_handle(lake.project, name)
    assert {s.snapshot_id for s in handle.metadata.snapshots} == {pinned, handle.metadata.current_snapshot_id}
    assert lake.spark.read.option("versionAsOf", pinned).table(f"iceberg.{name}").count() == at_pin
