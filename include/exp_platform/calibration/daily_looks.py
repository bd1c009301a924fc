"""Thirty daily looks: what a fixed-horizon test does then, what the confidence sequence does, and both together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.calibration.findings import Measured, Promise, finding
from exp_platform.calibration.one_look import ALPHA, estimate
from exp_platform.calibration.worlds import BINARY, COUNT, MEAN, RATIO, SPLITS, World, simulate, split
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import Array, SufficientStatistics

Crossed = NDArray[np.bool_]

DAYS = 30
PER_DAY = 120  # units a day, of both arms
TWO_PHASE = 0.055  # stated error of the decision's rule at alpha 0.05: the last day's fixed test costs half a point
WINDOW = 7  # days over which a unit's value builds up, where windows are open
CASES = ((MEAN, "ab"), (BINARY, "ab"), (COUNT, "cuped"), (RATIO, "ab"), (RATIO, "cuped"), (MEAN, "did"))


@dataclass(frozen=True, eq=False)
class Looks:
    """Share of A/A experiments that would have been called significant by each day (days,)."""

    naive: Array
    anytime: Array
    two_phase: Array  # confidence sequence until the planned end, fixed-horizon test on it


def ever(effect: Effect, alpha: float = ALPHA) -> tuple[Crossed, Crossed, Crossed]:
    """For each experiment and day: crossed so far by the naive, the anytime and the two-phase rule (lead …, day)."""
    fixed, anytime = _below(effect.p_value, alpha), _below(effect.anytime_p_value, alpha)
    naive = np.logical_or.accumulate(fixed, axis=-1)
    valid = np.logical_or.accumulate(anytime, axis=-1)
    both = valid.copy()
    both[..., -1] |= fixed[..., -1]
    return naive, valid, both


def false_alarms(rng: np.random.Generator, experiments: int) -> tuple[list[Measured], Looks]:
    """A/A under daily looks for several types and methods; the curves are those of the first case."""
    found: list[Measured] = []
    curves: Looks | None = None
    for world, method in CASES:
        for name, shares in SPLITS.items():
            units = split(DAYS * PER_DAY, shares)
            rules = ever(_looks(world, method, simulate(world, rng, experiments, units, days=DAYS)))
            found += _rows(f"{world.name}, {method}, {name}", rules)
            curves = curves or Looks(*(rule.reshape(-1, DAYS).mean(axis=0) for rule in rules))
    rules = ever(open_windows(rng, experiments))
    found += _rows(f"count with windows of {WINDOW} days still open, ab, 50/50", rules)
    assert curves is not None
    return found, curves


def interval_coverage(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """All thirty intervals of the confidence sequence hold the true effect at once."""
    lift = 0.1
    for world, method in CASES:
        for name, shares in SPLITS.items():
            units = split(DAYS * PER_DAY, shares)
            effect = _looks(world, method, simulate(world, rng, experiments, units, lift, DAYS))
            truths = (
                ("absolute", lift * world.base, effect.anytime_ci_low, effect.anytime_ci_high),
                ("relative", lift, effect.anytime_rel_ci_low, effect.anytime_rel_ci_high),
            )
            for scale, truth, low, high in truths:
                always = np.where(np.isfinite(low), (low <= truth) & (truth <= high), True).all(axis=-1)
                case = f"{world.name}, {method}, {scale}, {name}"
                study = "confidence sequence holds an effect of 10% on every day"
                yield finding(study, case, Promise.AT_LEAST, 1 - ALPHA, always)


def open_windows(rng: np.random.Generator, experiments: int) -> Effect:
    """A/A looks at a count that builds up over seven days from assignment: young units are seen in part."""
    arms = []
    for _ in range(2):
        rate = rng.gamma(2.0, 0.2, (experiments, DAYS, PER_DAY // 2))
        # value[..., age] is what a unit of that age in days has shown
        value = np.cumsum(rng.poisson(rate[..., None], (*rate.shape, WINDOW)), axis=-1, dtype=float)
        sums, squares = value.sum(axis=2), (value**2).sum(axis=2)  # (experiment, cohort, age)
        y, yy = (np.stack([_seen(part, day) for day in range(DAYS)], axis=-1) for part in (sums, squares))
        n = np.broadcast_to(PER_DAY // 2 * np.arange(1.0, DAYS + 1), y.shape)
        arms.append(SufficientStatistics(**{**vars(SufficientStatistics.zeros(y.shape)), "n": n, "y": y, "yy": yy}))
    return with_anytime(mean_effect(SufficientStatistics.stack(arms)), DAYS * PER_DAY)


def _seen(by_age: Array, day: int) -> Array:
    """Sum over the cohorts that have come by `day`, each at the age that it has then."""
    cohorts = np.arange(day + 1)
    return np.asarray(by_age[:, cohorts, np.minimum(day - cohorts, WINDOW - 1)].sum(axis=1))


def _looks(world: World, method: str, arms: SufficientStatistics) -> Effect:
    return with_anytime(estimate(world, method, arms), DAYS * PER_DAY)


def _rows(case: str, rules: tuple[Crossed, Crossed, Crossed]) -> list[Measured]:
    naive, anytime, both = (rule[..., -1] for rule in rules)
    study = f"A/A, {DAYS} daily looks"
    return [
        finding(study, f"{case}: fixed test at every look", Promise.EXCEEDS, ALPHA, naive),
        finding(study, f"{case}: confidence sequence", Promise.AT_MOST, ALPHA, anytime),
        finding(study, f"{case}: two-phase rule of the decision", Promise.AT_MOST, TWO_PHASE, both),
    ]


def _below(p_value: Array, alpha: float) -> Crossed:
    return np.asarray(np.where(np.isfinite(p_value), p_value, 1.0) < alpha)
