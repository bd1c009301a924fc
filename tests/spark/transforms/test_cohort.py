"""J4's cohort: who is analysed from when, and the first reason why the others are not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exp_platform.transforms.assignments import canonical_assignments
from exp_platform.transforms.cohort import experiment_cohort
from exp_platform.transforms.exposures import judge_exposures, validate_users

pytestmark = pytest.mark.spark

WINDOW = {
    "start_ts": datetime(2026, 1, 2, tzinfo=UTC),
    "end_ts": datetime(2026, 1, 10, tzinfo=UTC),
    "cutoff": datetime(2026, 1, 20, tzinfo=UTC),
}
ASSIGNED = [
    "both control 01-01T12:00",  # outside the window and conflicted
    "both treatment 01-03T12:00",
    "early control 01-01T12:00",
    "multi control 01-03T12:00",
    "plain control 01-03T12:00",
    "unexposed control 01-03T12:00",
]
EXPOSED = [
    "multi control 01-03T13:00",
    "multi treatment 01-03T14:00",
    "plain control 01-04T13:00",
    "stranger control 01-04T13:00",
]


@pytest.fixture
def cohort(events, table):
    def run(mode, *columns, attributes=None, dimensions=()):
        assignments = canonical_assignments(events("variant", "assignment_ts", rows=ASSIGNED), **WINDOW)
        exposures = events("variant", "exposure_ts", "unit", rows=[f"{row} user" for row in EXPOSED])
        judged = judge_exposures(exposures, assignments, **WINDOW, exposure_window_hours=None)
        users = validate_users(judged, assignments)
        known = None if attributes is None else events("dimension", "value", "attribute_ts", rows=attributes)
        frame = experiment_cohort(assignments, users, analysis_mode=mode, attributes=known, dimensions=dimensions)
        return table(frame, "user_id", *columns)

    return run


def test_itt_includes_every_validly_assigned_user_from_the_assignment_on(cohort):
    assert cohort("itt", "anchor_utc", "cohort_date", "included", "exclusion_reason") == [
        "both - - no conflicted_assignment",
        "early - - no assignment_outside_window",
        "multi 01-03T12:00 2026-01-03 yes -",
        "plain 01-03T12:00 2026-01-03 yes -",
        "unexposed 01-03T12:00 2026-01-03 yes -",
    ]


def test_exposed_includes_the_validly_exposed_from_their_first_valid_exposure_on(cohort):
    assert cohort("exposed", "anchor_utc", "cohort_date", "included", "exclusion_reason") == [
        "both - - no conflicted_assignment",
        "early - - no assignment_outside_window",
        "multi - - no multi_variation_exposure",
        "plain 01-04T13:00 2026-01-04 yes -",
        "unexposed - - no not_exposed",
    ]


def test_dimensions_are_those_known_at_assignment_the_latest_and_at_equal_times_the_larger_value(cohort):
    attributes = [
        "plain country at 01-01T00:00",
        "plain country de 01-03T12:00",  # the very instant of assignment counts
        "plain country ch 01-03T12:00",  # the same instant, the smaller value
        "plain country fr 01-03T12:01",  # too late
        "plain platform ios 01-01T00:00",
        "plain secret yes 01-01T00:00",  # not asked for
        "multi country us 01-04T00:00",  # too late
        "stranger country us 01-01T00:00",  # not in the cohort
    ]
    assert cohort("itt", "dimensions", attributes=attributes, dimensions=("platform", "country")) == [
        "both {}",
        "early {}",
        "multi {}",
        "plain {'country': 'de', 'platform': 'ios'}",
        "unexposed {}",
    ]


def test_without_attributes_the_dimensions_are_empty_not_null(cohort):
    assert {row.split(" ", 1)[1] for row in cohort("itt", "dimensions", dimensions=("country",))} == {"{}"}
