"""J1: the earliest event wins, ties go to the smallest variant; conflicts and wrong times are kept and marked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exp_platform.transforms.assignments import canonical_assignments

pytestmark = pytest.mark.spark

WINDOW = {
    "start_ts": datetime(2026, 1, 2, tzinfo=UTC),
    "end_ts": datetime(2026, 1, 10, tzinfo=UTC),
    "cutoff": datetime(2026, 1, 12, tzinfo=UTC),
}


@pytest.fixture
def canonical(events, table):
    def run(rows, *columns, time_column="assignment_ts", **settings):
        frame = events("variant", time_column, rows=rows)
        return table(canonical_assignments(frame, **(WINDOW | settings), time_column=time_column), *columns)

    return run


def test_the_earliest_event_wins(canonical):
    rows = ["u1 treatment 01-03T12:00", "u1 control 01-03T11:00", "u1 treatment 01-04T00:00"]
    assert canonical(rows, "user_id", "variant_id", "assignment_time_utc", "n_assignment_events", "n_variants") == [
        "u1 control 01-03T11:00 3 2"
    ]


def test_at_equal_times_the_smallest_variant_wins(canonical):
    rows = ["u1 treatment 01-03T12:00", "u1 control 01-03T12:00", "u1 Treatment 01-03T12:00"]
    assert canonical(rows, "variant_id", "n_variants", "is_conflicted") == ["Treatment 3 yes"]


def test_a_user_seen_in_one_variant_only_is_not_conflicted_however_many_events(canonical):
    rows = ["u1 control 01-03T12:00", "u1 control 01-05T12:00"]
    assert canonical(rows, "n_assignment_events", "n_variants", "is_conflicted", "is_valid") == ["2 1 no yes"]


def test_the_window_is_half_open(canonical):
    rows = [
        "before control 01-01T23:59",
        "start control 01-02T00:00",
        "last control 01-09T23:59",
        "end control 01-10T00:00",
    ]
    assert canonical(rows, "user_id", "is_outside_window", "is_valid") == [
        "before yes no",
        "end yes no",
        "last no yes",
        "start no yes",
    ]


def test_only_the_winning_time_decides_whether_a_user_is_outside_the_window(canonical):
    rows = ["u1 control 01-01T12:00", "u1 control 01-03T12:00"]
    assert canonical(rows, "assignment_time_utc", "is_outside_window", "is_conflicted") == ["01-01T12:00 yes no"]


def test_a_user_may_be_conflicted_and_outside_the_window_at_once(canonical):
    rows = ["u1 control 01-01T12:00", "u1 treatment 01-03T12:00"]
    assert canonical(rows, "is_conflicted", "is_outside_window", "is_valid") == ["yes yes no"]


def test_events_at_the_cutoff_or_later_are_not_seen(canonical):
    cutoff = datetime(2026, 1, 4, tzinfo=UTC)
    rows = ["u1 control 01-03T23:59", "u1 treatment 01-04T00:00", "u2 control 01-04T00:00"]
    assert canonical(rows, "user_id", "n_variants", "is_valid", cutoff=cutoff) == ["u1 1 yes"]


def test_without_an_assignment_log_the_first_exposure_assigns(canonical):
    rows = ["u1 treatment 01-05T00:00", "u1 treatment 01-04T00:00"]
    assert canonical(rows, "variant_id", "assignment_time_utc", "n_assignment_events", time_column="exposure_ts") == [
        "treatment 01-04T00:00 2"
    ]


def test_no_events_give_no_rows(canonical):
    assert canonical([], "user_id") == []


def test_the_plan_has_one_exchange_and_no_python(events):
    frame = canonical_assignments(events("variant", "assignment_ts", rows=["u1 control 01-03T12:00"]), **WINDOW)
    plan = frame._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange") == 1
    assert "Window" not in plan
    assert "Python" not in plan
