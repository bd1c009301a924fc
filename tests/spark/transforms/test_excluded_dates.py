"""Days that can't be used: who leaves the cohort, which events count, and which users leave a metric."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from tests.hand_made import experiment, metric
from tests.oracle.spine_data import END, START, Data
from tests.oracle.spine_data import metric as contract

from exp_platform.config.models import Exclusion
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import METRIC_AGGREGATES_DAILY
from exp_platform.lake.types import arrow_schema
from exp_platform.transforms.aggregates import calendar_part, calendar_rows, event_sums
from exp_platform.transforms.assignments import canonical_assignments
from exp_platform.transforms.cohort import Unusable, experiment_cohort
from exp_platform.transforms.event_pass import EventPass
from exp_platform.transforms.excluded_days import excluded_days
from exp_platform.transforms.exposures import exposure_events, judge_exposures, validate_users
from exp_platform.transforms.unit_outcomes import unit_outcomes

pytestmark = pytest.mark.spark

WINDOW = {
    "start_ts": datetime(2026, 1, 2, tzinfo=UTC),
    "end_ts": datetime(2026, 1, 10, tzinfo=UTC),
    "cutoff": datetime(2026, 1, 20, tzinfo=UTC),
}
LOST = date(2026, 1, 5)
ASSIGNED = [
    "before control 01-04T12:00",
    "never control 01-04T12:00",
    "on_day control 01-05T12:00",
    "mixed control 01-04T12:00",
    "after control 01-06T00:00",
]
EXPOSED = [
    "before control 01-04T13:00 user",
    "before treatment 01-05T13:00 user",  # seen in the other arm on the lost day alone
    "on_day control 01-05T13:00 user",
    "on_day control 01-07T13:00 user",
    "mixed control 01-04T13:00 user",
    "mixed treatment 01-06T13:00 user",
    "after control 01-06T13:00 user",
]


@pytest.fixture
def frames(events):
    """Assignments, judged exposure events and validated users, with the exposures of some dates excluded."""

    def run(excluded=(LOST,), hours=None):
        assignments = canonical_assignments(events("variant", "assignment_ts", rows=ASSIGNED), **WINDOW)
        exposures = events("variant", "exposure_ts", "unit", rows=EXPOSED)
        judged = judge_exposures(exposures, assignments, **WINDOW, exposure_window_hours=hours, excluded=excluded)
        return assignments, judged, validate_users(judged, assignments)

    return run


def reasons(frames, table, mode, assignments=(), exposures=(), hours=None):
    assigned, _, users = frames(exposures, hours)
    unusable = Unusable(WINDOW["end_ts"], hours, assignments, exposures)
    cohort = experiment_cohort(assigned, users, analysis_mode=mode, unusable=unusable)
    return dict(row.split() for row in table(cohort, "user_id", "exclusion_reason"))


def test_an_event_of_an_excluded_day_keeps_its_row_with_the_day_as_its_reason(frames, table):
    _, judged, _ = frames()
    shown = table(exposure_events(judged), "user_id", "exposure_time_utc", "is_valid", "invalid_reason")
    assert [row for row in shown if "excluded_date" in row] == [
        "before 01-05T13:00 no excluded_date",
        "on_day 01-05T13:00 no excluded_date",
    ]


def test_flags_do_not_look_at_an_excluded_day_and_counts_do(frames, table):
    columns = ("user_id", "n_exposures", "n_valid_exposures", "variant_mismatch", "multi_variation_exposure")
    with_it, without = (table(frames(excluded)[2], *columns) for excluded in ((), (LOST,)))
    assert "before 2 1 yes yes" in with_it and "before 2 1 no no" in without
    assert "mixed 2 1 yes yes" in with_it and "mixed 2 1 yes yes" in without
    assert "on_day 2 2 no no" in with_it and "on_day 2 1 no no" in without


def test_users_of_an_excluded_assignment_date_leave_in_both_modes(frames, table):
    for mode in ("itt", "exposed"):
        found = reasons(frames, table, mode, assignments=[LOST])
        assert [user for user, reason in found.items() if reason == "excluded_date"] == ["on_day"]


def test_in_exposed_mode_who_may_first_have_been_exposed_on_the_day_leaves(frames, table):
    assert reasons(frames, table, "exposed", exposures=[LOST]) == {
        "after": "-",
        "before": "-",
        "mixed": "multi_variation_exposure",
        "never": "excluded_date",
        "on_day": "excluded_date",
    }
    assert set(reasons(frames, table, "itt", exposures=[LOST]).values()) == {"-"}


def test_a_day_after_the_end_of_a_users_exposure_window_touches_nobody(frames, table):
    assert reasons(frames, table, "exposed", exposures=[LOST], hours=12)["never"] == "not_exposed"
    assert reasons(frames, table, "exposed", exposures=[LOST], hours=13)["never"] == "excluded_date"


def test_each_entry_counts_the_users_that_it_takes_out_by_itself(frames):
    entries = tuple(
        Exclusion(dates=LOST, what=what, reason="lost", by="ana")
        for what in Exclusion.model_fields["what"].annotation.__args__
    )
    contracts = [metric("revenue", "sum"), metric("visits", "count", window={"end_hours": 12})]
    registered = experiment(
        contracts, start_ts=WINDOW["start_ts"], end_ts=WINDOW["end_ts"], analysis_mode="exposed", exclude=entries
    )
    assigned, _, users = frames()
    cohort = experiment_cohort(assigned, users, analysis_mode="exposed", unusable=Unusable.of(registered))
    rows = excluded_days(users, cohort, registered, contracts)
    assert [(r["entry"], r["what"], r["metric_name"], r["users"], r["of_users"]) for r in rows] == [
        (1, "assignments", "all", 1, 5),
        (2, "exposures", "all", 2, 5),
        (3, "outcomes", "revenue", 1, 2),
        (3, "outcomes", "visits", 1, 2),
    ]


def units_of(spark, data: Data, **options):
    """User -> value and covariate of a sum over two days, with three days before."""
    cohort, outcomes = data.frames(spark)
    contracts = [contract("spent", "sum")]
    rows = unit_outcomes(cohort, outcomes, contracts, end_ts=END, cutoff=END, **options).collect()
    return {r["user_id"]: (r["metrics"]["spent"], r["covariates"]["spent"], r["did_pre"]["spent"]) for r in rows}


def before_on_and_after() -> Data:
    """Three users whose window, or time before, holds 8 January, and one whose doesn't."""
    data, day = Data(), START.replace
    for user, first in (("ends_before", 6), ("holds", 7), ("was_before", 10), ("long_before", 11)):
        data.unit(user, day(day=first))
        data.event(user, day(day=first, hour=1), 10.0)
        data.event(user, day(day=8, hour=5), 1.0)
        data.event(user, day(day=first - 2), 100.0)
    return data


def test_a_unit_leaves_a_metric_whose_window_holds_an_excluded_day_and_keeps_its_covariate(spark):
    plain = units_of(spark, before_on_and_after())
    lost = units_of(spark, before_on_and_after(), excluded=[date(2026, 1, 8)])
    assert plain["holds"] == (11.0, 100.0, 100.0) and lost["holds"] == (None, 100.0, 100.0)
    assert lost["ends_before"] == plain["ends_before"] == (10.0, 100.0, 100.0)
    # Covariates add up the days that are left; the time before of difference in differences is compared whole or not.
    assert plain["was_before"] == (10.0, 101.0, 101.0) and lost["was_before"] == (10.0, 0.0, None)
    assert plain["long_before"] == (10.0, 101.0, 100.0) and lost["long_before"] == (10.0, 100.0, 100.0)


def test_calendar_days_hold_the_units_that_are_left_alone(spark):
    cohort, outcomes = before_on_and_after().frames(spark)
    lost, metrics = [date(2026, 1, 8)], [contract("spent", "sum")]
    (counted,) = EventPass(cohort, outcomes, END, excluded=lost).run([calendar_part(metrics, END)])
    rows = calendar_rows(
        cohort,
        metrics,
        event_sums(counted, metrics, END),
        experiment_id="exp_spine",
        end_ts=END,
        cutoff=END,
        schema=arrow_schema(TABLES[METRIC_AGGREGATES_DAILY]),
        excluded=lost,
    ).to_pylist()
    assert [(row["date"].day, row["n"], row["sum"]) for row in rows] == [
        (6, 1, 10.0),
        (7, 1, 0.0),
        (10, 1, 10.0),
        (11, 2, 10.0),
    ]
