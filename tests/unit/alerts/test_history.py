"""Since when a problem has been there, and what has changed since the day before."""

from __future__ import annotations

from datetime import date

import pytest

from exp_platform.alerts.about import about
from exp_platform.alerts.history import History, Streak, streak
from exp_platform.alerts.model import Kind
from exp_platform.config.load import Project

ID = "exp_checkout_button_001"


def days(*numbers: int) -> frozenset[date]:
    return frozenset(date(2026, 2, number) for number in numbers)


@pytest.mark.parametrize(
    ("found", "analysed", "since", "mornings"),
    [
        (days(), days(), 6, 1),
        (days(3, 4, 5), days(1, 2, 3, 4, 5), 3, 4),
        (days(3, 5), days(3, 4, 5), 5, 2),  # the 4th was fine
        (days(3, 5), days(3, 5), 3, 3),  # on the 4th nothing ran
        (days(3, 4, 5, 6), days(3, 4, 5, 6), 3, 4),  # today is recorded already
        (days(3, 4), days(3, 4, 5), 6, 1),
        (days(7, 8), days(5, 7, 8), 6, 1),  # a backfill looks only back
    ],
)
def test_a_healthy_day_breaks_a_streak_and_a_day_without_a_run_does_not(found, analysed, since, mornings):
    assert streak(found, analysed, date(2026, 2, 6)) == Streak(date(2026, 2, since), mornings)


def history(**decisions: tuple[str, str]) -> History:
    made = {date(2026, 2, int(day[1:])): words for day, words in decisions.items()}
    return History(frozenset(made), {Kind.SRM_FAILED: frozenset(made)}, made)


@pytest.mark.parametrize(
    ("past", "changed"),
    [
        (history(), "no day has been analysed yet"),
        (history(d6=("ship", "trusted")), "first day that was analysed"),
        (history(d4=("ship", "trusted"), d6=("ship", "trusted")), "decision and trust are as on 2026-02-04"),
        (
            history(d5=("keep_running", "trusted"), d6=("invalid", "not_trusted")),
            "was Keep running (trusted) on 2026-02-05, is Invalid (not trusted)",
        ),
        (history(d5=("ship", "caution")), "no new numbers; the last are as of 2026-02-05: Ship (caution)"),
    ],
)
def test_the_change_is_told_against_the_last_analysed_day(project: Project, past, changed):
    assert about(project, ID, date(2026, 2, 6), past)["changed"] == changed


def test_an_experiment_whose_file_is_refused_is_told_by_its_id(project: Project):
    told = about(project, "exp_broken", date(2026, 2, 6), history())
    assert (told["name"], told["owner"]) == ("exp_broken", "unknown: its file cannot be read")
