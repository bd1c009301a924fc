"""Quantiles of counts, of whole milliseconds and of values that are mostly 0: false positives and coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from exp_platform.calibration.findings import UNMEASURED, Measured, Promise, finding
from exp_platform.calibration.worlds import Sizes
from exp_platform.stats.effect import Effect
from exp_platform.stats.quantile import Histogram, quantile_effect
from exp_platform.stats.sufficient import Array

STUDY = "quantiles of whole numbers"
ALPHA = 0.05
SPLITS: dict[str, Sizes] = {"50/50": (1_500, 1_500), "90/10": (2_700, 300)}
SCALES = (("absolute", "p_value", "effect_abs"), ("relative", "p_value_rel", "effect_rel"))
BEFORE = "0 to 14%"  # coverage of an earlier version, over counts and whole milliseconds
BEFORE_ZEROS = 0.62  # its relative false positives of a 95th percentile that is 0 for 95%
Draw = Callable[[np.random.Generator, int], Array]


def counts(rate: float, rng: np.random.Generator, n: int) -> Array:
    """Poisson counts."""
    return rng.poisson(rate, n).astype(float)


def whole_milliseconds(lift: float, rng: np.random.Generator, n: int) -> Array:
    """Lognormal around 150, rounded."""
    return np.asarray(np.round(np.exp(5 + lift + 0.6 * rng.normal(0, 1, n))), dtype=float)


def often_zero(share: float, rng: np.random.Generator, n: int) -> Array:
    """0 for a share of units, else lognormal amounts in cents."""
    return np.where(rng.random(n) < share, 0.0, np.round(np.exp(rng.normal(3, 1, n)), 2))


@dataclass(frozen=True)
class Integers:
    """A quantile of values a step apart, in control and in treatment, with the true difference."""

    name: str
    quantile: float
    control: Draw
    treatment: Draw
    truth: float
    same: bool  # both arms draw from one distribution
    before: str | None = None  # coverage of an earlier version of the engine


def poisson(q: float, rate: float, then: float, where: str = "") -> Integers:
    """Counts with a rate, and with another."""
    truth = float(stats.poisson.ppf(q, then) - stats.poisson.ppf(q, rate))
    name = f"quantile {q:g} of a count, rate {rate:g} against {then:g}{where}"
    return Integers(name, q, partial(counts, rate), partial(counts, then), truth, rate == then)


def milliseconds(q: float, lift: float) -> Integers:
    """Lognormal latencies around 150, rounded to whole milliseconds."""
    truth = float(np.diff(np.round(np.exp(5 + np.array([0.0, lift]) + 0.6 * stats.norm.ppf(q))))[0])
    name = f"quantile {q:g} of whole milliseconds, {np.exp(lift) - 1:.0%} slower"
    return Integers(name, q, partial(whole_milliseconds, 0.0), partial(whole_milliseconds, lift), truth, lift == 0)


CASES = (
    poisson(0.5, 3, 3),
    replace(poisson(0.5, 3, 4), before=BEFORE),
    poisson(0.5, 2.674, 2.674, ", on a step"),
    poisson(0.5, 2.66, 2.69, ", beside one step"),
    poisson(0.5, 2.674, 2.94, ", from a step"),
    poisson(0.9, 5.4, 5.4, ", on a step"),
    poisson(0.9, 3, 4),
    poisson(0.5, 20, 22),
    milliseconds(0.5, 0.0),
    replace(milliseconds(0.5, 0.05), before=BEFORE),
    milliseconds(0.95, 0.1),
)


def rows(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """All studies of this module."""
    yield from steps(rng, experiments)
    yield from mostly_zero(rng, experiments)


def steps(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Values a step apart: no difference is seen in at most alpha, and the interval holds the true one in 95%."""
    for split, units in SPLITS.items():
        for case in CASES:
            effects = [experiment(rng, case.quantile, case.control, case.treatment, units) for _ in range(experiments)]
            if case.same:
                hits = [bool(e.ok[0]) and e.p_value[0] < ALPHA for e in effects]
                yield finding(STUDY, f"{case.name}, {split}: A/A", Promise.AT_MOST, ALPHA, hits, allowance=0.01)
            covered = [e.effect_abs_ci_low[0] <= case.truth <= e.effect_abs_ci_high[0] for e in effects]
            before = UNMEASURED if case.before and split == "90/10" else case.before
            yield finding(
                STUDY,
                f"{case.name}, {split}: covered",
                Promise.AT_LEAST,
                1 - ALPHA,
                covered,
                allowance=0.01,
                before=before,
            )


def mostly_zero(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """The 95th percentile of a metric that is 0 for about 95% of units, on both scales.

    Without a relative effect (control's quantile is 0, or may be) there is no alarm; the case says how often there is
    one.
    """
    for split, units in SPLITS.items():
        for share in (0.94, 0.95, 0.96):
            draw = partial(often_zero, share)
            effects = [experiment(rng, 0.95, draw, draw, units) for _ in range(experiments)]
            for scale, name, level in (
                ("absolute", "p_value", "effect_abs"),
                ("relative", "p_value_rel", "effect_rel"),
            ):
                hits = [getattr(e, name)[0] < ALPHA for e in effects]
                answered = np.mean([np.isfinite(getattr(e, level)[0]) for e in effects])
                case = f"quantile 0.95 of values that are 0 for {share:.0%}, {scale}, {split} ({answered:.0%} answered)"
                worst = BEFORE_ZEROS if split == "50/50" else UNMEASURED
                before = worst if (scale, share) == ("relative", 0.95) else None
                yield finding(STUDY, case, Promise.AT_MOST, ALPHA, hits, allowance=0.01, before=before)


def experiment(rng: np.random.Generator, q: float, control: Draw, treatment: Draw, units: Sizes) -> Effect:
    """One experiment with a value for each unit of control and of treatment."""
    arms = [
        Histogram.from_values(draw(rng, n), np.arange(n)) for draw, n in zip((control, treatment), units, strict=True)
    ]
    return quantile_effect(arms, q, alpha=ALPHA)
