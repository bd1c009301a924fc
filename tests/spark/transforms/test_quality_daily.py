"""J2's daily measures: who is counted where, over which denominator, and once only in what is judged."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from exp_platform.transforms.assignments import canonical_assignments
from exp_platform.transforms.exposures import judge_exposures, validate_users
from exp_platform.transforms.quality_daily import JUDGED_ONCE, daily_outcome_volume, daily_quality

pytestmark = pytest.mark.spark

WINDOW = {
    "start_ts": datetime(2026, 1, 2, tzinfo=UTC),
    "end_ts": datetime(2026, 1, 10, tzinfo=UTC),
    "cutoff": datetime(2026, 1, 20, tzinfo=UTC),
}


@pytest.fixture
def daily(events, table):
    def run(assigned, exposed, *columns, hours=None):
        assignments = canonical_assignments(events("variant", "assignment_ts", rows=assigned), **WINDOW)
        exposures = events("variant", "exposure_ts", "unit", rows=[f"{row} user" for row in exposed])
        judged = judge_exposures(exposures, assignments, **WINDOW, exposure_window_hours=hours)
        users = validate_users(judged, assignments)
        return table(daily_quality(assignments, users), "variant_id", "date", *columns)

    return run


def test_exposure_rate_is_exposed_over_validly_assigned_by_variant_and_assignment_date(daily):
    assigned = [
        "u1 control 01-03T12:00",
        "u2 control 01-03T13:00",
        "u3 control 01-04T00:00",
        "u4 treatment 01-03T12:00",
    ]
    exposed = ["u1 control 01-05T00:00", "u4 treatment 01-03T12:00"]
    assert daily(assigned, exposed, "assigned", "exposed", "exposure_rate") == [
        "control 2026-01-03 2 1 0.5",
        "control 2026-01-04 1 0 0.0",
        "treatment 2026-01-03 1 1 1.0",
    ]


def test_any_exposure_counts_users_whose_exposures_are_all_invalid(daily):
    assert daily(["u1 control 01-03T12:00"], ["u1 control 01-03T00:00"], "exposed", "any_exposure") == [
        "control 2026-01-03 0 1"
    ]


def test_an_invalid_assignment_is_canonical_but_not_assigned_and_its_rates_are_null(daily):
    assigned = ["u1 control 01-03T12:00", "u1 treatment 01-03T13:00"]
    columns = ("canonical_assignments", "assigned", "exposure_rate", "variant_mismatch_count", "variant_mismatch_rate")
    assert daily(assigned, ["u1 treatment 01-03T14:00"], *columns) == [
        "control 2026-01-03 1 0 - 0 -",
        "treatment 2026-01-03 0 0 - 0 -",  # the unassigned exposure
    ]


def test_conflicted_assignments_are_a_share_of_all_canonical_rows_of_the_day(daily):
    assigned = [
        "u1 control 01-03T12:00",
        "u1 treatment 01-03T13:00",
        "u2 control 01-03T12:00",
        "u3 control 01-03T12:00",
    ]
    columns = ("canonical_assignments", "assigned", "conflicted_assignment_count", "conflicted_assignment_rate")
    assert daily(assigned, [], *columns) == [f"control 2026-01-03 3 2 1 {1 / 3}"]


def test_unassigned_exposures_are_counted_at_their_first_exposure(daily):
    exposed = ["u1 treatment 01-05T00:00", "u1 treatment 01-04T00:00", "u1 control 01-04T00:00"]
    columns = ("assigned", "unassigned_exposure_count", "unassigned_exposure_rate")
    assert daily([], exposed, *columns) == ["control 2026-01-04 0 1 -"]
    assert daily(["u2 control 01-04T12:00"], exposed, *columns) == ["control 2026-01-04 1 1 1.0"]


def test_a_user_with_several_flags_is_judged_once_in_the_first(daily):
    assigned = [f"u{i} control 01-03T12:00" for i in (1, 2, 3, 4)]
    exposed = [
        "u1 treatment 01-03T11:00",  # mismatch, before assignment
        "u1 control 01-03T13:00",  # with it: several variants
        "u2 treatment 01-03T11:00",  # mismatch, before assignment
        "u3 control 01-03T11:00",  # before assignment
        "u3 control 01-15T00:00",  # and outside the window
        "u4 control 01-15T00:00",  # outside the window only
    ]
    assert daily(assigned, exposed, *(f"judged_{flag}" for flag in JUDGED_ONCE)) == ["control 2026-01-03 1 1 1 1"]
    assert daily(assigned, exposed, *(f"{flag}_count" for flag in JUDGED_ONCE)) == ["control 2026-01-03 1 2 3 2"]


def test_an_exposure_outside_the_window_is_judged_only_where_no_exposure_is_valid(daily):
    exposed = ["u1 control 01-03T13:00", "u1 control 01-15T00:00"]
    columns = ("exposure_outside_window_count", "judged_exposure_outside_window")
    assert daily(["u1 control 01-03T12:00"], exposed, *columns) == ["control 2026-01-03 1 0"]


def test_outcome_volume_counts_the_events_of_the_asked_metrics_from_a_week_before_the_start(events):
    rows = [
        "u1 revenue 01-02T23:59",  # more than a week before
        "u1 revenue 01-03T00:00",
        "u2 revenue 01-10T23:59",
        "u3 revenue 01-10T00:00",
        "u1 clicks 01-10T00:00",  # not asked for
        "u1 revenue 01-11T00:00",  # not seen yet
    ]
    window = {"start_ts": datetime(2026, 1, 10, 9, tzinfo=UTC), "cutoff": datetime(2026, 1, 11, tzinfo=UTC)}
    volume = daily_outcome_volume(events("metric_name", "outcome_ts", rows=rows), ["revenue"], **window)
    assert {(row.metric_name, row.date): row.events for row in volume.collect()} == {
        ("revenue", date(2026, 1, 3)): 1,
        ("revenue", date(2026, 1, 10)): 2,
    }
