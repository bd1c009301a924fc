"""A daily run that adds what is new to the rows of the day before gives the rows of a run over everything."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from tests.oracle.spine_data import CUTOFF, END, METRICS, SOURCES, Data
from tests.oracle.test_spine_oracle import awkward
from tests.spark.lake.conftest import Lake, lake  # noqa: F401
from tests.spark.metrics.appending import append_outcomes

from exp_platform.lake.changes import only_appended, read_appended
from exp_platform.lake.tables import TABLES
from exp_platform.transforms.unit_outcomes import outcomes_from_partials, unit_outcomes
from exp_platform.transforms.unit_partials import Layout, seen_events, unit_windows
from exp_platform.transforms.unit_state import fresh_units, since, updated_partials

pytestmark = pytest.mark.spark

BEFORE = CUTOFF - timedelta(days=1)
EVENTS = "exp.outcomes"


def rows(units: Any) -> list[dict[str, Any]]:
    return sorted(units.toArrow().to_pylist(maps_as_pydicts="strict"), key=lambda row: row["user_id"])


def the_day_before(data: Data) -> Data:
    """What had landed by then: no events of the last day, some older ones not yet, some units unknown or elsewhere."""
    landed = [e for i, e in enumerate(data.outcomes) if e["outcome_ts"] < BEFORE + timedelta(hours=3) and i % 7]
    units = [dict(u) for i, u in enumerate(data.cohort) if i % 5]
    for unit in units[::9]:
        unit["anchor_utc"] = unit["assignment_time_utc"] + timedelta(hours=2)
    return Data(units, landed)


def test_new_late_and_changed_give_the_same_rows_as_everything_at_once(spark: Any) -> None:
    data = awkward(Random(8), users=60)
    before = the_day_before(data)
    cohort, outcomes = data.frames(spark)
    cohort_before, outcomes_before = before.frames(spark)
    units = unit_outcomes(cohort_before, outcomes_before, METRICS, end_ts=END, cutoff=BEFORE).persist()

    layout, windows = Layout.of(METRICS, END), unit_windows(cohort)
    fresh = fresh_units(windows, units, layout)
    assert 0 < fresh.units < len(data.cohort)
    _, appended = Data(outcomes=[e for e in data.outcomes if e not in before.outcomes]).frames(spark)
    held_back = outcomes_before.where(f"outcome_ts >= timestamp'{BEFORE:%Y-%m-%d %H:%M:%S}'")
    new = seen_events(appended.unionByName(held_back), SOURCES, CUTOFF)
    history = seen_events(since(outcomes, fresh.first_event_us), SOURCES, CUTOFF)
    partials = updated_partials(windows, units, new, history, fresh, layout)

    updated = rows(outcomes_from_partials(cohort, partials, METRICS, layout, end_ts=END, cutoff=CUTOFF))
    at_once = rows(unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF))
    assert repr(updated) == repr(at_once)


def outcomes_of(lake: Lake, users: range) -> Any:  # noqa: F811
    return lake.spark.range(users.start, users.stop).selectExpr(
        "'exp_one' as experiment_id",
        "cast(id as string) as user_id",
        "'a' as metric_name",
        "1D as value",
        "timestamp'2026-01-06' as outcome_ts",
        "'f' as source_file",
        "timestamp'2026-01-11' as ingested_at",
    )


def test_what_was_appended_is_read_and_what_was_restated_is_noticed(lake: Lake) -> None:  # noqa: F811
    table = TABLES[EVENTS]
    first = lake.publish(EVENTS, outcomes_of(lake, range(3)), "exp_one", run_id="a").snapshot_id
    other = outcomes_of(lake, range(9)).selectExpr("'exp_two' as experiment_id", *list(table.columns)[1:])
    lake.publish(EVENTS, other, "exp_two", run_id="b")
    second = append_outcomes(lake, outcomes_of(lake, range(3, 5)), "exp_one", run_id="c")

    handle = lake.handle(EVENTS)
    assert only_appended(handle, "exp_one", first, second)
    found = read_appended(lake.spark, table, "exp_one", first, second)
    assert sorted(row["user_id"] for row in found.collect()) == ["3", "4"]
    assert read_appended(lake.spark, table, "exp_one", second, second).count() == 0

    third = lake.publish(EVENTS, outcomes_of(lake, range(4)), "exp_one", run_id="d").snapshot_id
    handle = lake.handle(EVENTS)
    assert not only_appended(handle, "exp_one", second, third), "an overwrite re-states"
    assert not only_appended(handle, "exp_one", 12345, third), "a snapshot that is gone tells nothing"


def test_the_day_before_really_lacks_something() -> None:
    data = awkward(Random(8), users=60)
    before = the_day_before(data)
    late = [e for e in data.outcomes if e not in before.outcomes and e["outcome_ts"] < BEFORE]
    held_back = [e for e in before.outcomes if e["outcome_ts"] >= BEFORE]
    assert late and held_back and len(before.cohort) < len(data.cohort)
