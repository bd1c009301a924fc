"""Where real experiments live: uneven arms, rare events and heavy tails, by one look and by thirty.

The sums of an arm are drawn without its units: events are binomial, and only buyers' amounts are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from exp_platform.calibration.daily_looks import DAYS, TWO_PHASE, ever
from exp_platform.calibration.findings import UNMEASURED, Measured, Promise, finding
from exp_platform.calibration.worlds import Sizes
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import Array, SufficientStatistics

ALPHA = 0.05
MARGIN = 0.05
BUYERS, SPREAD = 0.05, 2.0  # share of units that pay, and the sigma of the lognormal that they pay


@dataclass(frozen=True)
class SumsWorld:
    """A metric whose sums over n units are drawn directly; its mean is base · (1 + lift)."""

    name: str
    base: float
    draw: Callable[[np.random.Generator, tuple[int, ...], int, float], SufficientStatistics]
    binary: bool


def simulate_sums(
    world: SumsWorld, rng: np.random.Generator, experiments: int, units: Sizes, lift: float = 0.0, days: int = 1
) -> SufficientStatistics:
    """Lead (arm, experiment, day), cumulative; `units` come to control and to treatment on each day."""
    daily = [world.draw(rng, (experiments, days), n, arm_lift) for n, arm_lift in zip(units, (0.0, lift), strict=True)]
    arms = SufficientStatistics.stack(daily)
    sums = {name: np.cumsum(getattr(arms, name), axis=2) for name in ("n", "y", "yy", "yyy")}
    return SufficientStatistics(**{**vars(arms), **sums})


def false_positives(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A/A at one look; where there are too few events there is no answer, and the case says how often."""
    for world, units, before in ONE_LOOK:
        effect = _estimate(world, simulate_sums(world, rng, experiments, units))
        answered = effect.ok.mean()
        case = f"{world.name}, {units[0]:,} against {units[1]:,} units ({answered:.0%} answered)"
        # The rate is that of the experiments with an answer, if there are any; the others raise no alarm.
        hits = (effect.p_value < ALPHA)[effect.ok if answered > 0 else ...]
        yield finding("A/A, uneven arms and rare events", case, Promise.AT_MOST, ALPHA, hits, before=before)


def relative_coverage(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """The relative interval of revenue: how often it holds a lift of 10%, and that it errs on both sides alike."""
    study, lift = "coverage of the relative interval, revenue", 0.1
    for units, before in COVERED:
        effect = _estimate(SPEND, simulate_sums(SPEND, rng, experiments, units, lift))
        known = np.isfinite(effect.effect_rel_ci_low)
        low, high = effect.effect_rel_ci_low[known], effect.effect_rel_ci_high[known]
        arms = f"{units[0]:,} against {units[1]:,} units"
        case = f"{arms} ({known.mean():.0%} with a relative effect)"
        yield finding(study, case, Promise.AT_LEAST, 1 - ALPHA, (low <= lift) & (lift <= high), before=before)
        for side, missed in (("above", low > lift), ("below", high < lift)):
            yield finding(study, f"{arms}, lies {side} it", Promise.AT_MOST, ALPHA / 2, missed)


def daily_looks(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A/A under thirty daily looks: the confidence sequence alone, and the two-phase rule."""
    for world, units, before in LOOKS:
        sums = simulate_sums(world, rng, experiments, units, days=DAYS)
        effect = with_anytime(_estimate(world, sums), DAYS * sum(units))
        _, anytime, both = (rule[..., -1] for rule in ever(effect))
        case = f"{world.name}, {units[0]:,} + {units[1]:,} units a day"
        study = f"A/A, {DAYS} daily looks, uneven arms and rare events"
        yield finding(study, f"{case}: confidence sequence", Promise.AT_MOST, ALPHA, anytime, before=before)
        yield finding(study, f"{case}: two-phase rule of the decision", Promise.AT_MOST, TWO_PHASE, both)


def guardrails(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A guardrail that is harmed by its margin and passes; one that is not harmed and stops within thirty days."""
    study = "guardrails, rare events and heavy tails"
    for world, units, before in AT_MARGIN:
        effect = _estimate(world, simulate_sums(world, rng, experiments, units, MARGIN))[0, :, 0]
        passes = assess_guardrails(effect, MARGIN, False, axis=0).status == "pass"
        case = f"{world.name}, {units[0]:,} against {units[1]:,}: harm is exactly the margin, yet passes"
        yield finding(study, case, Promise.AT_MOST, ALPHA / 2, passes, before=before)
    for world, units, before in STOPS:
        for good, way in ((False, "a rise"), (True, "a fall")):
            sums = simulate_sums(world, rng, experiments, units, days=DAYS)
            case = f"{world.name}, {units[0]:,} + {units[1]:,} a day: no harm, {way} is bad, stops within {DAYS} days"
            stopped = _stopped(_estimate(world, sums), DAYS * sum(units), good)
            yield finding(study, case, Promise.AT_MOST, TWO_PHASE / 2, stopped, before=before if not good else None)


def _stopped(effect: Effect, planned: int, good: bool) -> Array:
    """True when an experiment's one guardrail ever fails: by the anytime interval, and by the fixed one at the end."""
    looks = with_anytime(effect, planned)[0]
    shape = looks.lead
    daily = assess_guardrails(looks[..., None], MARGIN, good, anytime=True, axis=-1).status.reshape(shape)
    final = assess_guardrails(looks[..., -1, None], MARGIN, good, axis=-1).status[:, 0]
    return np.asarray((daily == "fail").any(axis=1) | (final == "fail"))


def _estimate(world: SumsWorld, arms: SufficientStatistics) -> Effect:
    return mean_effect(arms, binary=world.binary, alpha=ALPHA)


def _rare(rate: float) -> Callable[[np.random.Generator, tuple[int, ...], int, float], SufficientStatistics]:
    def draw(rng: np.random.Generator, shape: tuple[int, ...], n: int, lift: float) -> SufficientStatistics:
        events = rng.binomial(n, rate * (1 + lift), shape).astype(float)
        return _sums(shape, n, events, events, events)

    return draw


def _spend(rng: np.random.Generator, shape: tuple[int, ...], n: int, lift: float) -> SufficientStatistics:
    buyers = rng.binomial(n, BUYERS, shape).ravel()
    amounts = (1 + lift) * np.exp(rng.normal(0, SPREAD, int(buyers.sum())))
    starts = np.concatenate([[0], np.cumsum(buyers)[:-1]])

    def total(values: Array) -> Array:
        sums = np.add.reduceat(np.append(values, 0.0), starts)
        return np.where(buyers > 0, sums, 0.0).reshape(shape)

    return _sums(shape, n, *(total(amounts**power) for power in (1, 2, 3)))


def _sums(shape: tuple[int, ...], n: int, y: Array, yy: Array, yyy: Array) -> SufficientStatistics:
    empty = vars(SufficientStatistics.zeros(shape))
    return SufficientStatistics(**{**empty, "n": np.full(shape, float(n)), "y": y, "yy": yy, "yyy": yyy})


RARE = SumsWorld("binary 0.5%", 0.005, _rare(0.005), binary=True)
TENTH = SumsWorld("binary 10%", 0.1, _rare(0.1), binary=True)
SPEND = SumsWorld("revenue (5% buy, lognormal, sigma 2)", BUYERS * float(np.exp(SPREAD**2 / 2)), _spend, binary=False)

# World, units of control and treatment, and the rate of the errors of version 1 of this engine.
Case = tuple[SumsWorld, Sizes, float | str | None]
COVERED: tuple[tuple[Sizes, float | str], ...] = (
    ((500, 500), 0.869),
    ((2_000, 2_000), 0.883),
    ((20_000, 20_000), 0.923),
    ((18_000, 2_000), UNMEASURED),
)
ONE_LOOK: tuple[Case, ...] = (
    (RARE, (1_800, 200), 0.277),
    (RARE, (4_500, 500), 0.100),
    (RARE, (9_000, 1_000), 0.081),
    (RARE, (19_000, 1_000), 0.091),
    (RARE, (18_000, 2_000), 0.061),
    (RARE, (2_000, 18_000), None),
    (RARE, (90_000, 10_000), None),
    (RARE, (10_000, 10_000), UNMEASURED),
    (SPEND, (4_500, 500), 0.172),
    (SPEND, (18_000, 2_000), 0.131),
    (SPEND, (500, 4_500), None),
    (SPEND, (2_500, 2_500), UNMEASURED),
)
LOOKS: tuple[Case, ...] = (
    (RARE, (180, 20), 0.319),
    (RARE, (900, 100), None),
    (RARE, (500, 500), UNMEASURED),
    (SPEND, (360, 40), 0.146),
    (SPEND, (200, 200), UNMEASURED),
)
AT_MARGIN: tuple[Case, ...] = (
    (RARE, (2_000, 2_000), 0.081),
    (RARE, (18_000, 2_000), UNMEASURED),
    (TENTH, (1_800, 200), None),
    (SPEND, (2_000, 2_000), None),
)
STOPS: tuple[Case, ...] = (
    (TENTH, (60, 60), 0.059),
    (SPEND, (200, 200), 0.243),
    (RARE, (900, 100), 0.322),
    (TENTH, (108, 12), UNMEASURED),
    (SPEND, (360, 40), UNMEASURED),
    (RARE, (500, 500), UNMEASURED),
)
