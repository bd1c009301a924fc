"""A run that dies between the events and the record of their files is mended by the next one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.ingest_lake import IngestLake, at, make_lake

from exp_platform.errors import FencedConflict
from exp_platform.pipelines.publisher import Publisher
from exp_platform.pipelines.stages import ingest_events

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
TIME = at("2026-01-06T10:00:00")


class KilledError(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


@pytest.fixture(scope="module")
def shared_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> IngestLake:
    """An empty lake."""
    return make_lake(spark, tmp_path_factory.mktemp("killed"))


@pytest.fixture
def lake(shared_lake: IngestLake, request: pytest.FixtureRequest) -> IngestLake:
    """An experiment that has been fed once, and a new outcomes file."""
    lake = shared_lake.with_experiment(re.sub(r"\W+", "_", request.node.name).lower()[:55])
    lake.write_healthy()
    lake.run("r1")
    lake.write("outcomes", [lake.row("outcomes", "u3", "revenue", 1.0, TIME)], "new.parquet")
    return lake


def kill_at_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The events are committed, ops.ingested_files is not."""

    def replace(self: Publisher, table: str, rows: list[dict[str, Any]], /, **key: Any) -> None:
        if table == "ops.ingested_files":
            raise KilledError
        original(self, table, rows, **key)

    original = Publisher.replace
    monkeypatch.setattr(Publisher, "replace", replace)


@pytest.mark.parametrize("full_refresh", [False, True])
def test_events_committed_without_their_record_are_not_added_again(
    lake: IngestLake, monkeypatch: pytest.MonkeyPatch, full_refresh: bool
) -> None:
    with monkeypatch.context() as patch:
        kill_at_record(patch)
        with pytest.raises(KilledError):
            lake.run("r2", full_refresh=full_refresh)
    assert lake.users("outcomes") == ["u1", "u2", "u3"]
    before = lake.snapshots("outcomes")
    lake.run("r3")
    assert lake.users("outcomes") == ["u1", "u2", "u3"]
    assert lake.snapshots("outcomes") == before
    recorded = lake.rows("ops.ingested_files", "path", "rows", where="dataset = 'outcomes'")
    assert [(path.rsplit("/", 1)[1], rows) for path, rows in recorded] == [("healthy.parquet", 2), ("new.parquet", 1)]


def test_a_lost_record_does_not_add_an_event_twice(lake: IngestLake) -> None:
    lake.run("r2")
    with lake.context("lost") as ctx:
        ctx.publish.replace("ops.ingested_files", [], dataset="outcomes")
    lake.write("outcomes", [lake.row("outcomes", "u4", "revenue", 1.0, TIME)], "newer.parquet")
    lake.run("r3")
    assert lake.users("outcomes") == ["u1", "u2", "u3", "u4"]


def test_of_two_runs_that_append_the_same_file_the_second_to_commit_is_refused(lake: IngestLake) -> None:
    with pytest.raises(FencedConflict, match="changed by another writer"), lake.context("slow") as slow:
        slow.publish.write_unseen(
            "exp.outcomes", lake.spark.table("iceberg.exp.outcomes").where("false")
        )  # takes the fence
        lake.run("quick")
        ingest_events.run(slow)
    assert lake.users("outcomes") == ["u1", "u2", "u3"]
