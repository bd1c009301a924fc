"""The pass over events: which events of which units reach a kernel."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from exp_platform.metrics.values import DAY_US, Period
from exp_platform.sums.event_columns import Cell
from exp_platform.transforms.event_pass import EventPart, EventPass
from exp_platform.transforms.joins import hardly_any_other

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
CUTOFF = datetime(2026, 1, 10, tzinfo=UTC)


def test_a_metric_of_complete_windows_takes_no_event_of_a_unit_whose_window_is_open(spark: SparkSession) -> None:
    cohort = spark.sql(
        "select 'exp_a' as experiment_id, user_id, true as included, at as assignment_time_utc, at as anchor_utc "
        "from values ('closed', timestamp '2026-01-03 00:00:00Z'), "
        "('open', timestamp '2026-01-03 00:00:01Z') t(user_id, at)"
    )
    outcomes = events_of(spark, "closed", "open")
    week = Period("post", end_us=7 * DAY_US)
    every, complete = Cell("revenue", week), Cell("revenue", week, mature=True)
    part = EventPart((every, complete), ("user_id",), partial(lambda names: names), pa.schema([]))  # type: ignore[arg-type]
    rows = EventPass(cohort, outcomes, CUTOFF).frame([part]).collect()
    flags = [name for name in rows[0].asDict() if isinstance(rows[0][name], bool)]
    assert {row["user_id"]: [row[name] for name in flags] for row in rows} == {
        "closed": [True, True],
        "open": [True, False],
    }


def test_a_dimension_travels_as_a_column_of_its_own(spark: SparkSession) -> None:
    """A map would be written value by value, for each event."""
    cohort = spark.sql(
        "select 'exp_a' as experiment_id, user_id, true as included, dimensions, "
        "timestamp '2026-01-03 00:00:00Z' as assignment_time_utc, timestamp '2026-01-03 00:00:00Z' as anchor_utc "
        "from values ('u', map('store', 'east', 'age', 'old')), ('v', map('age', 'young')) t(user_id, dimensions)"
    )
    outcomes = events_of(spark, "u", "v")
    every = Cell("revenue", Period("post", end_us=7 * DAY_US))
    part = EventPart((every,), ("user_id",), partial(lambda names: names), pa.schema([]), ("store",))  # type: ignore[arg-type]
    frame = EventPass(cohort, outcomes, CUTOFF).frame([part])
    assert {row["user_id"]: row["d0"] for row in frame.collect()} == {"u": "east", "v": None}
    assert frame.columns == ["user_id", "d0", "source", "event_us", "assignment_us", "value", "in0"]


def test_events_of_strangers_are_left_out_before_they_are_shuffled(spark: SparkSession) -> None:
    units = spark.sql("select 'exp_a' as experiment_id, user_id from values ('u'), ('v') t(user_id)")
    left = hardly_any_other(events_of(spark, "u", "stranger", "v", "u"), units)
    assert sorted(row["user_id"] for row in left.collect()) == ["u", "u", "v"]


def events_of(spark: SparkSession, *users: str) -> DataFrame:
    listed = ", ".join(f"('{user}')" for user in users)
    return spark.sql(
        "select 'exp_a' as experiment_id, user_id, 'revenue' as metric_name, 1.0D as value, "
        f"timestamp '2026-01-04 00:00:00Z' as outcome_ts from values {listed} t(user_id)"
    )
