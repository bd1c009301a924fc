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

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
CUTOFF = datetime(2026, 1, 10, tzinfo=UTC)


def test_a_metric_of_complete_windows_takes_no_event_of_a_unit_whose_window_is_open(spark: SparkSession) -> None:
    cohort = spark.sql(
        "select 'exp_a' as experiment_id, user_id, true as included, at as assignment_time_utc, at as anchor_utc "
        "from values ('closed', timestamp '2026-01-03 00:00:00Z'), "
        "('open', timestamp '2026-01-03 00:00:01Z') t(user_id, at)"
    )
    outcomes = spark.sql(
        "select 'exp_a' as experiment_id, user_id, 'revenue' as metric_name, 1.0D as value, "
        "timestamp '2026-01-04 00:00:00Z' as outcome_ts from values ('closed'), ('open') t(user_id)"
    )
    week = Period("post", end_us=7 * DAY_US)
    every, complete = Cell("revenue", week), Cell("revenue", week, mature=True)
    part = EventPart((every, complete), ("user_id",), partial(lambda names: names), pa.schema([]))  # type: ignore[arg-type]
    rows = EventPass(cohort, outcomes, CUTOFF).frame([part]).collect()
    flags = [name for name in rows[0].asDict() if isinstance(rows[0][name], bool)]
    assert {row["user_id"]: [row[name] for name in flags] for row in rows} == {
        "closed": [True, True],
        "open": [True, False],
    }
