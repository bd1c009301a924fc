"""Excluded dates in J6 and J7: sample ratio, planned days, and the pre-trend panel."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from tests import hand_made as hm

from exp_platform.config.models import Exclusion
from exp_platform.results.analysis import analyze
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.panel_days import holds_excluded, kept
from exp_platform.results.srm_checks import planned_users_check, srm_checks

METRIC = hm.metric("revenue", "sum", pre_period_days=7)


def excluding(what: str, *days: int) -> dict:
    """Registry keys that exclude days of January."""
    dates = tuple(date(2026, 1, day) if day > 0 else date(2025, 12, 31) + timedelta(days=day) for day in days)
    return {"exclude": (Exclusion(dates=dates, what=what, reason="lost", by="ana"),)}


def inputs(plan, units, assigned) -> CheckInputs:
    statistics = hm.statistics([(METRIC, units)])
    axes = read_axes(statistics, plan.arms)
    return CheckInputs(plan, statistics, cubes(statistics, [METRIC], axes), axes, assigned, {})


def test_users_of_an_excluded_assignment_date_are_in_no_sample_ratio() -> None:
    units = hm.draw_units(1, 1400)
    broken = [
        row | {"assigned": row["assigned"] + 900} if (row["variant_id"], row["date"].day) == ("control", 9) else row
        for row in hm.assigned(units)
    ]
    found = {}
    for name, keys in (("all", {}), ("without", excluding("assignments", 9))):
        rows = srm_checks(inputs(hm.plan([METRIC], 14, **keys), units, broken))
        found[name] = next(row["status"] for row in rows if row["check_name"] == "srm_assigned")
        days = {row["segment"] for row in rows if row["check_name"] == "srm_by_day"}
        assert ("date=2026-01-09" in days) is (name == "all")
    assert found == {"all": "fail", "without": "ok"}


def test_an_excluded_day_is_no_day_on_which_users_came() -> None:
    units = hm.draw_units(1, 1000)  # 2000 users of 10000 planned
    further = {}
    for name, keys in (
        ("all", {}),
        ("without", excluding("assignments", 3, 4)),
        ("later", excluding("assignments", 20)),
    ):
        plan = hm.plan([METRIC], 14, **keys)
        further[name] = planned_users_check(inputs(plan, units, hm.assigned(units)))[0]["statistic"]
        assert plan.assignment_days == {"all": 14, "without": 12, "later": 14}[name]
    # Without the two days fewer users have come, in as many fewer days: the others take about as long as before.
    assert further == {"all": 56, "without": 60, "later": 56}


@pytest.mark.parametrize(
    ("mode", "hours", "touched"),
    [("itt", None, [-3, -2]), ("exposed", 24, [-3, -2, -1]), ("exposed", 48, [-3, -2, -1])],
)
def test_an_excluded_day_lies_in_the_relative_days_of_a_cohort_date(mode: str, hours: int | None, touched: list[int]):
    # Users assigned on the 10th have day -3 from the 7th to the 8th, and day -2 from the 8th to the 9th.
    experiment = hm.experiment([METRIC], analysis_mode=mode, exposure_window_hours=hours, **excluding("outcomes", 8))
    days = np.arange(-7, 0)
    found = holds_excluded([date(2026, 1, 10)], days, experiment)
    assert days[found[0]].tolist() == touched


def test_of_days_and_dates_those_leave_that_leave_more_days_of_users() -> None:
    days, all_dates = np.arange(-7, 0), [date(2026, 1, day) for day in range(1, 15)]
    one_date = hm.experiment([METRIC], **excluding("outcomes", -2))
    dates, left = kept(all_dates[:1], days, np.array([100.0]), one_date)
    assert dates.tolist() == [True] and days[left].tolist() == [-7, -6, -5, -2, -1]
    many = hm.experiment([METRIC], **excluding("outcomes", 1))
    dates, left = kept(all_dates, days, np.full(14, 100.0), many)
    assert left.all() and [day.day for day, stays in zip(all_dates, dates, strict=True) if stays] == [*range(9, 15)]
    untouched = kept(all_dates, days, np.full(14, 100.0), hm.experiment([METRIC]))
    assert untouched[0].all() and untouched[1].all()


def pretrends(levels: tuple[float, float], day_lost: int | None, **keys) -> set[str]:
    """Verdicts on arms at two levels, all users of 1 January; of one day before, a tenth of the events arrived."""
    rng = np.random.default_rng(5)
    arms = {arm: rng.normal(level, 1, (400, 7)) for arm, level in zip(("control", "treatment"), levels, strict=True)}
    if day_lost is not None:
        for matrix in arms.values():
            matrix[:, day_lost] *= 0.1
    plan = hm.plan([METRIC], 14, design="rollout", decision_method="did", **keys)
    statistics = hm.statistics([(METRIC, hm.draw_units(3, 400, days=1))])
    return set(analyze(statistics, hm.panel("revenue", arms), plan, None).tests["verdict"].tolist())


def test_a_lost_day_before_a_rollout_does_not_look_like_arms_that_meet() -> None:
    assert pretrends((5.0, 9.0), None) == {"passed"}
    assert pretrends((5.0, 9.0), 4) == {"failed"}  # day -3, from 29 to 30 December
    assert pretrends((5.0, 9.0), 4, **excluding("outcomes", -2)) == {"passed"}


def test_a_panel_of_which_nothing_is_left_is_not_tested() -> None:
    everything = excluding("outcomes", *range(-8, 2))
    assert pretrends((5.0, 9.0), None, **everything) == {"insufficient_data"}
