"""A daily run computes the cohort dates that a day has changed, and keeps the others: the rows of all at once."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any

import pytest
from tests.lakes import Lake
from tests.oracle.spine_data import CUTOFF, END, METRICS, SOURCES, START, VARIANTS, Data
from tests.oracle.test_spine_oracle import awkward
from tests.spark.metrics.appending import append_outcomes

from exp_platform.config.models import Metric
from exp_platform.lake.changes import only_appended, read_appended
from exp_platform.lake.tables import TABLES
from exp_platform.transforms.cohort_dates import (
    cohort_digests,
    dates_of_units,
    dates_that_turn,
    dates_with_events,
    events_since_first_window,
    on_dates,
    other_dates,
)
from exp_platform.transforms.unit_outcomes import unit_outcomes
from exp_platform.transforms.unit_partials import Layout, seen_events

pytestmark = pytest.mark.spark

BEFORE = CUTOFF - timedelta(days=1)
EVENTS = "exp.outcomes"


def rows(units: Any) -> list[dict[str, Any]]:
    return units.toArrow().to_pylist(maps_as_pydicts="strict")


def with_quiet_dates(data: Data) -> Data:
    """The data without last-day events of units of the first dates, whose windows have closed."""
    quiet = {u["user_id"] for u in data.cohort if u["included"] and u["anchor_utc"] < START + timedelta(days=2)}
    return Data(data.cohort, [e for e in data.outcomes if e["outcome_ts"] < BEFORE or e["user_id"] not in quiet])


def the_day_before(data: Data, random: Random) -> Data:
    """The data that had landed a day before: no events of the last day, one older event missing, one unit unknown,
    one in another arm, one on another date."""
    included = [u for u in data.cohort if u["included"] and u["anchor_utc"] >= START + timedelta(days=1)]
    unknown, elsewhere, other_arm, late = random.sample(included, 4)
    missing = next((e for e in data.outcomes if e["user_id"] == late["user_id"]), None)
    landed = [e for e in data.outcomes if e["outcome_ts"] < BEFORE + timedelta(hours=3) and e is not missing]
    anchor = elsewhere["anchor_utc"] + timedelta(hours=30)
    moved = {
        elsewhere["user_id"]: elsewhere | {"anchor_utc": anchor, "cohort_date": anchor.date()},
        other_arm["user_id"]: other_arm | {"variant_id": next(v for v in VARIANTS if v != other_arm["variant_id"])},
    }
    return Data([moved.get(u["user_id"], u) for u in data.cohort if u is not unknown], landed)


@pytest.mark.parametrize("seed", [8, 9, 10])
def test_the_changed_cohort_dates_anew_and_the_others_kept_are_the_rows_of_everything_at_once(
    spark: Any, seed: int
) -> None:
    random = Random(seed)
    data = with_quiet_dates(awkward(random, users=40))
    before = the_day_before(data, random)
    cohort, outcomes = data.frames(spark)
    cohort_before, outcomes_before = before.frames(spark)
    kept = rows(unit_outcomes(cohort_before, outcomes_before, METRICS, end_ts=END, cutoff=BEFORE))

    layout, digests = Layout.of(METRICS, END), cohort_digests(cohort)
    appeared, changed = other_dates(cohort_digests(cohort_before), digests)
    _, appended = Data(outcomes=[e for e in data.outcomes if e not in before.outcomes]).frames(spark)
    held_back = outcomes_before.where(f"outcome_ts >= timestamp'{BEFORE:%Y-%m-%d %H:%M:%S}'")
    new = seen_events(appended.unionByName(held_back), SOURCES, CUTOFF)
    known = dates_of_units(digests)
    turned = dates_that_turn(known, METRICS, end_ts=END, before=BEFORE, now=CUTOFF)
    dates = appeared | changed | dates_with_events(cohort, new, layout) | turned
    assert set() < dates < known

    some = cohort.where(on_dates(dates))
    since = events_since_first_window(some, outcomes, layout)
    anew = rows(unit_outcomes(some, since, METRICS, end_ts=END, cutoff=CUTOFF))
    at_once = rows(unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF))
    together = [row for row in kept if row["cohort_date"] not in dates] + anew
    assert sorted(map(repr, together)) == sorted(map(repr, at_once))


def test_a_date_turns_when_one_of_its_units_opens_or_matures() -> None:
    """Against the definition, for units at each hour of a date and a microsecond beside it."""
    days = [(START + timedelta(days=d)).date() for d in range(-3, 8)]
    for one in METRICS:
        for before, now in ((BEFORE, CUTOFF), (BEFORE, BEFORE), (BEFORE, END + timedelta(days=1))):
            turned = dates_that_turn(days, [one], end_ts=END, before=before, now=now)
            for day in days:
                midnight = datetime.combine(day, time(), UTC)
                anchors = [midnight + timedelta(hours=h, microseconds=t) for h in range(24) for t in (0, 1)]
                anchors.append(midnight + timedelta(days=1, microseconds=-1))
                states = [[state(one, anchor, cut) for anchor in anchors] for cut in (before, now)]
                assert (day in turned) == (states[0] != states[1]), (one.name, day, before, now)


def state(one: Metric, anchor: datetime, cut: datetime) -> tuple[bool, bool]:
    """Two flags of a unit's window at a cut-off: it has opened, it has closed."""
    window = one.window
    until_end = window.end_hours == "experiment"
    end = END if until_end else anchor + timedelta(hours=float(window.end_hours))
    if window.truncate_at_end:
        end = min(end, END)
    return anchor + timedelta(hours=window.start_hours) < cut, end <= cut


def outcomes_of(lake: Lake, users: range) -> Any:
    return lake.spark.range(users.start, users.stop).selectExpr(
        "'exp_one' as experiment_id",
        "cast(id as string) as user_id",
        "'a' as metric_name",
        "1D as value",
        "timestamp'2026-01-06' as outcome_ts",
        "cast(null as string) as event_id",
        "'f' as source_file",
        "timestamp'2026-01-11' as ingested_at",
    )


def test_what_was_appended_is_read_and_what_was_restated_is_noticed(lake: Lake) -> None:
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
