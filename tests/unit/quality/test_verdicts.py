"""J2's verdicts: each failure mode turns its own check on its own days, healthy days turn none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from exp_platform.config.models import QualitySettings
from exp_platform.quality.verdicts import CHECKS, exposure_verdicts
from exp_platform.status import CheckStatus

START = date(2026, 1, 5)
ARMS = ("control", "treatment")
FLAGS = [check for check in CHECKS if not check.bad_when_low]


def healthy_days(days=14, users=700, rate=0.85, seed=1, flag_rate=0.0):
    """Daily rows of both arms, as gold.fct_experiment_quality_metrics_daily has them."""
    draw = np.random.default_rng(seed)
    rows = []
    for day in range(days):
        for arm in ARMS:
            row = {"date": START + timedelta(day), "variant_id": arm, "assigned": users, "canonical_assignments": users}
            row["any_exposure"] = int(draw.binomial(users, rate))
            row |= {check.count: int(draw.binomial(users, flag_rate)) for check in FLAGS}
            rows.append(row)
    return rows


def change(rows, column, share, days, arms=ARMS):
    """Set a column to a share of the users on some days."""
    hit = {START + timedelta(day) for day in days}
    for row in rows:
        if row["date"] in hit and row["variant_id"] in arms:
            row[column] = round(share * row["assigned"])
    return rows


def judge(rows, cutoff_days=20, **settings):
    source = settings.pop("assignment_source", "assignments")
    needed = settings.pop("exposures_needed", True)
    hours = settings.pop("exposure_window_hours", None)
    return exposure_verdicts(
        rows,
        cutoff=datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=cutoff_days),
        settings=QualitySettings(**settings),
        exposure_window_hours=hours,
        assignment_source=source,
        exposures_needed=needed,
    )


def failures(rows, **settings):
    """Check -> days since the start on which it failed."""
    found: dict[str, list[int]] = {}
    for verdict in judge(rows, **settings):
        if verdict.status is CheckStatus.FAIL:
            found.setdefault(verdict.check_name, []).append((verdict.date - START).days)
    return found


def test_a_healthy_experiment_turns_no_check():
    assert failures(healthy_days()) == {}


@pytest.mark.parametrize("users", [20, 150, 5000])
def test_no_healthy_seed_raises_an_alarm(users):
    assert [seed for seed in range(70) if failures(healthy_days(users=users, seed=seed, flag_rate=0.002))] == []


@pytest.mark.parametrize("check", FLAGS, ids=lambda check: check.name)
def test_each_flag_turns_its_own_check_on_its_own_days(check):
    assert failures(change(healthy_days(), check.count, 0.15, [3, 4])) == {check.name: [3, 4]}


def test_lost_exposures_turn_exposure_logging_on_their_days():
    assert failures(change(healthy_days(), "any_exposure", 0.42, [6, 7])) == {"exposure_logging": [6, 7]}


def test_more_exposures_than_usual_are_no_fault():
    assert failures(change(healthy_days(), "any_exposure", 1.0, [6])) == {}


def test_days_that_failed_leave_the_baseline_so_that_most_days_may_be_broken():
    broken = list(range(2, 12))
    assert failures(change(healthy_days(), "any_exposure", 0.42, broken)) == {"exposure_logging": broken}


def test_one_broken_arm_shows_against_the_other_even_when_it_is_broken_every_day():
    rows = change(healthy_days(days=5), "any_exposure", 0.6, range(5), arms=["treatment"])
    found = judge(rows)
    assert {v.date for v in found if v.status is CheckStatus.FAIL} == {START + timedelta(d) for d in range(5)}
    assert all("in treatment" in v.detail for v in found if v.status is CheckStatus.FAIL)


def test_a_flag_on_every_day_and_in_every_arm_fails_against_the_ceiling():
    rows = change(healthy_days(), "judged_variant_mismatch", 0.12, range(14))
    assert failures(rows) == {"variant_mismatch": list(range(14))}


def test_with_too_few_days_the_ceiling_alone_judges_flags():
    assert failures(change(healthy_days(days=2), "judged_variant_mismatch", 0.12, [0])) == {"variant_mismatch": [0]}
    assert failures(change(healthy_days(days=2), "judged_variant_mismatch", 0.02, [0])) == {}
    assert failures(change(healthy_days(days=4), "judged_variant_mismatch", 0.02, [0], ["control"])) != {}


def test_a_real_but_small_change_is_ok_with_a_note():
    rows = change(healthy_days(users=100_000), "any_exposure", 0.82, [5])
    verdict = next(v for v in judge(rows) if v.check_name == "exposure_logging" and v.date == START + timedelta(5))
    assert verdict.status is CheckStatus.OK
    assert verdict.p_value < 0.001
    assert "too small to matter" in verdict.detail


def test_a_large_change_of_few_users_is_ok():
    assert failures(change(healthy_days(users=8), "judged_variant_mismatch", 0.25, [5], ["control"])) == {}


def test_only_days_that_have_had_time_to_be_exposed_are_judged():
    last = max(v.date for v in judge(healthy_days(), cutoff_days=10))
    assert last == START + timedelta(8)  # day 9 ended at the cutoff, day 8 a day before
    assert max(v.date for v in judge(healthy_days(), cutoff_days=10, settle_hours=0)) == START + timedelta(9)
    windowed = judge(healthy_days(), cutoff_days=10, exposure_window_hours=72)
    assert max(v.date for v in windowed) == START + timedelta(6)


def test_a_young_broken_day_neither_fails_nor_spoils_the_baseline():
    rows = change(healthy_days(), "any_exposure", 0.1, [13])
    assert failures(rows, cutoff_days=14) == {}


def test_conflicted_assignments_are_a_share_of_all_canonical_rows():
    rows = healthy_days()
    for row in rows:
        row["assigned"] = row["canonical_assignments"] // 2
    change(rows, "conflicted_assignment_count", 0.2, [4])
    verdict = next(v for v in judge(rows) if v.check_name == "conflicted_assignment" and v.date == START + timedelta(4))
    assert verdict.observed == pytest.approx(0.1)
    assert verdict.status is CheckStatus.FAIL


def test_assignments_derived_from_exposures_are_judged_as_conflicts_instead_of_multi_variation():
    checks = {v.check_name for v in judge(healthy_days(), assignment_source="exposures")}
    assert "multi_variation_exposure" not in checks
    assert "conflicted_assignment" in checks


def test_an_experiment_without_any_exposure_fails_only_where_exposures_are_needed():
    rows = change(healthy_days(), "any_exposure", 0.0, range(14))
    assert failures(rows, exposures_needed=True) == {"exposure_logging": list(range(14))}
    assert failures(rows, exposures_needed=False) == {}


def test_days_and_arms_without_users_are_not_judged():
    rows = healthy_days(days=5)
    for row in rows[:2]:
        row |= {"assigned": 0, "any_exposure": 0}
    found = judge(rows)
    assert min(v.date for v in found if v.check_name == "exposure_logging") == START + timedelta(1)
    assert judge([]) == []


def test_the_order_of_rows_changes_nothing():
    rows = change(healthy_days(), "any_exposure", 0.42, [6, 7])
    assert judge(rows) == judge(rows[::-1])


def judged_dates(check, **excluded):
    """Days since the start on which a check was judged."""
    found = exposure_verdicts(
        healthy_days(),
        cutoff=datetime(2026, 1, 25, tzinfo=UTC),
        settings=QualitySettings(),
        exposure_window_hours=excluded.pop("hours", None),
        assignment_source="assignments",
        exposures_needed=True,
        **{kind: [START + timedelta(day) for day in days] for kind, days in excluded.items()},
    )
    return {(verdict.date - START).days for verdict in found if verdict.check_name == check}


def test_an_excluded_assignment_date_is_judged_by_no_check():
    assert judged_dates("exposure_logging", excluded_assignments=[4]) == set(range(14)) - {4}
    assert judged_dates("conflicted_assignment", excluded_assignments=[4]) == set(range(14)) - {4}


@pytest.mark.parametrize(("hours", "blind"), [(None, {5, 6}), (24, {5, 6}), (48, {4, 5, 6})])
def test_dates_whose_exposures_fall_on_an_excluded_day_are_judged_by_assignments_alone(hours, blind):
    assert judged_dates("exposure_logging", excluded_exposures=[6], hours=hours) == set(range(14)) - blind
    assert judged_dates("conflicted_assignment", excluded_exposures=[6], hours=hours) == set(range(14))


def test_an_excluded_date_is_no_baseline_for_the_others():
    days = change(healthy_days(days=4, rate=0.5), "any_exposure", 1.0, [1, 2, 3])
    rules = {"settings": QualitySettings(), "exposure_window_hours": None, "assignment_source": "assignments"}
    rules |= {"cutoff": datetime(2026, 1, 25, tzinfo=UTC), "exposures_needed": True}
    first = [
        next(v for v in exposure_verdicts(days, **rules, excluded_assignments=excluded) if v.date == START)
        for excluded in ((), (START + timedelta(3),))
    ]
    assert [v.status for v in first] == [CheckStatus.FAIL, CheckStatus.OK]  # two dates are too few to compare with
