"""Somebody watches the fixed-horizon p and ends on the first day on which it is small: the sealed plan holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from exp_platform.calibration.daily_looks import CASES, DAYS, PER_DAY
from exp_platform.calibration.findings import Measured, Promise, finding
from exp_platform.calibration.one_look import ALPHA, estimate
from exp_platform.calibration.one_metric import experiment_on_sales, sales
from exp_platform.calibration.worlds import SPLITS, simulate, split
from exp_platform.config.models import Window
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.plan import Promise as Sealed
from exp_platform.stats.effect import Effect
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import Array

STUDY = f"end moved to an earlier day, {DAYS} daily looks"
START = datetime(2026, 1, 1, tzinfo=UTC)
PLANNED = START + timedelta(days=DAYS)


def rows(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A/A: the end is moved to the first day, if any, on which the fixed-horizon p is below alpha."""
    for number, (world, method) in enumerate(CASES):
        for name, shares in SPLITS.items():
            arms = simulate(world, rng, experiments, split(DAYS * PER_DAY, shares), days=DAYS)
            effect = with_anytime(estimate(world, method, arms), DAYS * PER_DAY)[0]
            kept, unsealed = (significant(effect, sealed=sealed) for sealed in (True, False))
            case = f"{world.name}, {method}, {name}"
            before = float(unsealed.mean()) if number == 0 else None  # earlier versions had no seal
            yield finding(STUDY, f"{case}: sealed plan", Promise.AT_MOST, ALPHA, kept, before=before)
            yield finding(STUDY, f"{case}: plan that is not sealed", Promise.EXCEEDS, ALPHA, unsealed)


def significant(effect: Effect, *, sealed: bool) -> Array:
    """True for an experiment (lead: experiment, day) that is significant before the first planned end.

    It may be so at any look by the anytime-valid p, and on the day to which its end is moved by the p in force then.
    """
    fixed, anytime = (np.asarray(p < ALPHA)[:, :-1] for p in (effect.p_value, effect.anytime_p_value))
    in_force = np.array([plan(day, sealed).interval_in_force for day in range(1, DAYS)])
    at_moved_end = fixed.any(axis=1) & (in_force[fixed.argmax(axis=1)] == "fixed")
    return np.asarray(anytime.any(axis=1) | at_moved_end)


def plan(day: int, sealed: bool) -> AnalysisPlan:
    """The plan whose end was moved to a day, as of that day; sealed with the end that was planned at first."""
    end = START + timedelta(days=day)
    metric = sales(Window(end_hours="experiment"))
    experiment = experiment_on_sales("exp_moved", "An experiment with a moved end", START, end)
    promise = Sealed("sales", PLANNED, PLANNED, DAYS * PER_DAY) if sealed else None
    return AnalysisPlan(experiment, (metric,), end.date() - timedelta(days=1), end, promise=promise)
