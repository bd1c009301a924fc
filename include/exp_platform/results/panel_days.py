"""The part of a pre-trend panel that excluded outcome dates leave: some relative days, or some cohort dates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from exp_platform.config.models import Experiment
from exp_platform.stats.sufficient import Array

Mask = NDArray[np.bool_]


def kept(
    dates: Sequence[date], relative_days: NDArray[np.int64], units: Array, experiment: Experiment
) -> tuple[Mask, Mask]:
    """Which cohort dates and which relative days of a panel are tested; `units` are those of each cohort date.

    A day that lacks events in both arms would look as if arms at different levels came together on it. Either the
    relative days leave that hold an excluded date for any cohort date, or the cohort dates for which any day does:
    whichever leaves more days of users; the days leave where both leave as many.
    """
    touched = holds_excluded(dates, relative_days, experiment)
    all_dates, all_days = np.ones(len(dates), dtype=bool), np.ones(len(relative_days), dtype=bool)
    if not touched.any():
        return all_dates, all_days
    days, whole = np.asarray(~touched[units > 0].any(axis=0)), np.asarray(~touched.any(axis=1))
    if not days.any() or units[whole].sum() * len(relative_days) > units.sum() * days.sum():
        return whole, all_days
    return all_dates, days


def holds_excluded(dates: Sequence[date], relative_days: NDArray[np.int64], experiment: Experiment) -> Mask:
    """Cohort date × relative day: true where an excluded outcome date lies in that day of any of its users.

    Day -1 is the last 24 hours before the assignment, so that it lies on two dates for users of one date. The cohort
    date is the anchor's: in exposed mode the assignment may be older.
    """
    excluded = experiment.excluded("outcomes")
    found = np.zeros((len(dates), len(relative_days)), dtype=bool)
    for c, day in enumerate(dates):
        first = earliest_assignment(day, experiment)
        for r, relative in enumerate(relative_days.tolist()):
            span = first + timedelta(days=relative), day + timedelta(days=relative + 1)
            found[c, r] = any(span[0] <= lost <= span[1] for lost in excluded)
    return found


def earliest_assignment(cohort_date: date, experiment: Experiment) -> date:
    """The earliest UTC date on which a user of this cohort date can have been assigned."""
    start, hours = experiment.start_ts.date(), experiment.exposure_window_hours
    if experiment.analysis_mode == "itt":
        return cohort_date
    return start if hours is None else max(start, cohort_date - timedelta(days=math.ceil(hours / 24)))
