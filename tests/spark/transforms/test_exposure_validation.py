"""J2: every exposure event keeps its row and the first reason why it does not count; flags look at all of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exp_platform.transforms.assignments import canonical_assignments
from exp_platform.transforms.exposures import exposure_events, judge_exposures, validate_users

pytestmark = pytest.mark.spark

WINDOW = {
    "start_ts": datetime(2026, 1, 2, tzinfo=UTC),
    "end_ts": datetime(2026, 1, 10, tzinfo=UTC),
    "cutoff": datetime(2026, 1, 20, tzinfo=UTC),
}
FLAGS = (
    "pre_assignment_exposure",
    "variant_mismatch",
    "multi_variation_exposure",
    "exposure_outside_window",
    "unassigned_exposure",
)


@pytest.fixture
def judged(events):
    def run(assigned, exposed, *, hours=None, **settings):
        window = WINDOW | settings
        assignments = canonical_assignments(events("variant", "assignment_ts", rows=assigned), **window)
        exposures = events("variant", "exposure_ts", "unit", rows=[f"{row} session" for row in exposed])
        return judge_exposures(exposures, assignments, **window, exposure_window_hours=hours), assignments

    return run


@pytest.fixture
def validated(judged):
    def run(*args, **kwargs):
        return validate_users(*judged(*args, **kwargs))

    return run


@pytest.fixture
def flags(validated, table):
    """The flags that are up, by user."""

    def run(*args, **kwargs):
        users = table(validated(*args, **kwargs), "user_id", *FLAGS)
        return {
            row.split()[0]: {flag for flag, up in zip(FLAGS, row.split()[1:], strict=True) if up == "yes"}
            for row in users
        }

    return run


@pytest.fixture
def reasons(judged, table):
    def run(*args, **kwargs):
        return table(exposure_events(judged(*args, **kwargs)[0]), "exposure_time_utc", "is_valid", "invalid_reason")

    return run


ASSIGNED = ["u1 control 01-03T12:00"]


def test_an_exposure_at_the_very_instant_of_assignment_counts(validated, table):
    users = validated(ASSIGNED, ["u1 control 01-03T12:00"])
    columns = ("n_exposures", "n_valid_exposures", "first_valid_exposure_utc", "is_valid_exposed")
    assert table(users, *columns) == ["1 1 01-03T12:00 yes"]


def test_an_exposure_before_the_assignment_does_not_count(reasons, flags):
    args = (ASSIGNED, ["u1 control 01-03T11:59", "u1 control 01-03T12:01"])
    assert reasons(*args) == ["01-03T11:59 no pre_assignment", "01-03T12:01 yes -"]
    assert flags(*args) == {"u1": {"pre_assignment_exposure"}}


def test_an_exposure_to_another_variant_is_a_mismatch_and_one_variant_alone_is_not_multi(flags):
    assert flags(ASSIGNED, ["u1 treatment 01-04T00:00"]) == {"u1": {"variant_mismatch"}}


def test_two_variants_are_multi_variation_and_the_user_is_not_exposed_but_keeps_the_first_valid_time(validated, table):
    users = validated(ASSIGNED, ["u1 treatment 01-03T13:00", "u1 control 01-03T14:00"])
    columns = ("multi_variation_exposure", "n_valid_exposures", "first_valid_exposure_utc", "is_valid_exposed")
    assert table(users, *columns) == ["yes 1 01-03T14:00 no"]


def test_the_experiment_window_is_half_open(reasons):
    assert reasons(ASSIGNED, ["u1 control 01-09T23:59", "u1 control 01-10T00:00"]) == [
        "01-09T23:59 yes -",
        "01-10T00:00 no outside_experiment",
    ]


def test_the_exposure_window_is_half_open(reasons, flags):
    args = (ASSIGNED, ["u1 control 01-04T11:59", "u1 control 01-04T12:00"])
    assert reasons(*args, hours=24) == ["01-04T11:59 yes -", "01-04T12:00 no outside_exposure_window"]
    assert flags(*args, hours=24) == {"u1": {"exposure_outside_window"}}
    assert flags(*args, hours=None) == {"u1": set()}


def test_reasons_are_given_in_order(reasons):
    assigned = ["u1 control 01-03T12:00", "gone control 01-01T12:00"]
    exposed = [
        "gone treatment 01-01T00:00",  # everything is wrong
        "u1 treatment 01-01T01:00",  # another variant, before assignment, outside the experiment
        "u1 control 01-01T02:00",  # before assignment, outside the experiment
        "u1 control 01-10T03:00",  # outside the experiment and the exposure window
        "u1 control 01-05T04:00",  # outside the exposure window
    ]
    assert reasons(assigned, exposed, hours=24) == [
        "01-01T00:00 no no_valid_assignment",
        "01-01T01:00 no variant_mismatch",
        "01-01T02:00 no pre_assignment",
        "01-05T04:00 no outside_exposure_window",
        "01-10T03:00 no outside_experiment",
    ]


def test_an_exposed_user_without_assignment_has_only_the_flags_that_need_none(flags):
    exposed = ["u9 control 01-01T00:00", "u9 treatment 01-03T00:00", "u8 control 01-03T00:00"]
    assert flags([], exposed, hours=1) == {
        "u9": {"unassigned_exposure", "multi_variation_exposure", "exposure_outside_window"},
        "u8": {"unassigned_exposure"},
    }


def test_an_invalid_assignment_is_still_compared_with(flags, validated, table):
    assigned = ["u1 control 01-03T12:00", "u1 treatment 01-03T13:00"]
    exposed = ["u1 treatment 01-03T11:00", "u1 treatment 01-05T00:00"]
    assert flags(assigned, exposed, hours=24) == {
        "u1": {"pre_assignment_exposure", "variant_mismatch", "exposure_outside_window", "unassigned_exposure"}
    }
    assert table(validated(assigned, exposed), "variant_id", "n_valid_exposures", "is_valid_exposed") == [
        "control 0 no"
    ]


def test_an_assigned_user_without_exposures_has_a_row_and_no_flag(flags, validated, table):
    assert flags(ASSIGNED, []) == {"u1": set()}
    columns = ("n_exposures", "first_exposure_utc", "first_valid_exposure_utc", "is_valid_exposed")
    assert table(validated(ASSIGNED, []), *columns) == ["0 - - no"]


def test_events_at_the_cutoff_or_later_are_not_seen(validated, table):
    exposed = ["u1 control 01-04T23:59", "u1 control 01-05T00:00", "u2 control 01-05T00:00"]
    users = validated(ASSIGNED, exposed, cutoff=datetime(2026, 1, 5, tzinfo=UTC))
    assert table(users, "user_id", "n_exposures") == ["u1 1"]


def test_the_first_exposure_is_the_earliest_and_at_equal_times_the_smallest_variant(validated, table):
    exposed = ["u1 treatment 01-04T00:00", "u1 control 01-04T00:00", "u1 control 01-05T00:00"]
    users = validated(ASSIGNED, exposed)
    assert table(users, "first_exposure_utc", "first_exposure_variant_id") == ["01-04T00:00 control"]


def test_session_and_user_exposures_at_one_instant_are_two_events(events, table):
    exposures = events(
        "variant", "exposure_ts", "unit", rows=["u1 control 01-04T00:00 user", "u1 control 01-04T00:00 session"]
    )
    assignments = canonical_assignments(events("variant", "assignment_ts", rows=ASSIGNED), **WINDOW)
    judged = judge_exposures(exposures, assignments, **WINDOW, exposure_window_hours=None)
    assert table(exposure_events(judged), "unit", "is_valid") == ["session yes", "user yes"]
    assert table(validate_users(judged, assignments), "n_valid_exposures") == ["2"]


def test_events_are_shuffled_once_and_grouped_where_they_are(validated):
    plan = validated(ASSIGNED, ["u1 control 01-04T00:00"])._jdf.queryExecution().executedPlan().toString()
    # The events and, once for each join, the assignments; on the bucketed tables of the lake there is none.
    assert plan.count("Exchange hashpartitioning") == 3
    assert "Window" not in plan
    assert "Python" not in plan
