"""How the events of a large dataset come to their files: one exchange, whole buckets, sorted by user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.ingest_lake import IngestLake, at

from exp_platform.ingest import events
from exp_platform.ingest.events import distinct_events, with_run_columns
from exp_platform.lake.tables import UNITS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = pytest.mark.spark
COLUMNS = ("experiment_id", "user_id", "variant", "assignment_ts", "unit")
TIME = at("2026-01-06T10:00:00")


def rows(lake: IngestLake, users: int) -> DataFrame:
    """Every event twice: in file 0 and in file 1."""
    return lake.spark.range(2 * users).selectExpr(
        "'exp_a' AS experiment_id",
        f"concat('u', id % {users}) AS user_id",
        "'control' AS variant",
        "timestamp'2026-01-06 10:00:00' AS assignment_ts",
        "'user' AS unit",
        f"cast(1 - id div {users} AS int) AS _file",
    )


def test_distinct_events_need_one_exchange_and_no_window(lake: IngestLake) -> None:
    staged = with_run_columns(distinct_events(rows(lake, 100), COLUMNS, 10**6), COLUMNS, ["a", "b"], TIME)
    plan = staged._jdf.queryExecution().executedPlan().toString()
    assert len(re.findall(r"\bExchange\b", plan)) == 1
    assert "Window" not in plan
    assert "Python" not in plan


def test_the_layout_is_that_of_the_tables(lake: IngestLake) -> None:
    assert ("experiment_id", f"bucket({events.BUCKETS}, user_id)") == UNITS


def test_a_task_has_the_users_of_one_bucket_and_each_event_once(
    lake: IngestLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ROWS_PER_TASK", 50)
    distinct = distinct_events(rows(lake, 500), COLUMNS, 1000)
    assert distinct.rdd.getNumPartitions() == 20
    found = distinct.selectExpr(
        "user_id", "_file", "spark_partition_id() AS task", "iceberg.system.bucket(4, user_id) AS b"
    )
    assert found.selectExpr("count(*)", "count(DISTINCT user_id)", "max(_file)").first()[:] == (500, 500, 0)
    assert found.groupBy("task").agg({"b": "min"}).count() == found.select("task", "b").distinct().count()


def test_files_are_sorted_by_user_and_hold_one_bucket(lake: IngestLake) -> None:
    lake.write_healthy("exposures", "outcomes")
    users = [f"u{i:03}" for i in range(200)]
    lake.write("assignments", [lake.row("assignments", user, "control", TIME, "user") for user in reversed(users)])
    lake.run()
    where = f"experiment_id = '{lake.experiment_id}'"
    stored = lake.spark.table("iceberg.exp.assignments").where(where)
    by_file = stored.selectExpr("_file", "_pos", "user_id").orderBy("_file", "_pos").collect()
    files = {row["_file"] for row in by_file}
    assert len(files) == events.BUCKETS
    for file in files:
        held = [row["user_id"] for row in by_file if row["_file"] == file]
        assert held == sorted(held)
    assert sorted(row["user_id"] for row in by_file) == users
