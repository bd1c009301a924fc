"""Error rates of the decision itself: thirty daily decisions on a primary metric and two guardrails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.calibration.daily_looks import TWO_PHASE
from exp_platform.calibration.findings import Measured, Promise, finding
from exp_platform.calibration.worlds import COUNT, MEAN, SPLITS, Sizes, simulate, split
from exp_platform.decision.rules import ArmEvidence, Moment, Primary, decide_arm
from exp_platform.decision.trust import TrustVerdict
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.sequential import with_anytime
from exp_platform.status import Decision, Trust

ALPHA = 0.05
ONE_SIDED = TWO_PHASE / 2  # what the two-phase rule of thirty daily looks costs in one direction
DAYS = 30
PER_DAY = 120  # units a day, of both arms
MARGIN = 0.05
GUARDRAILS = ("guardrail_1", "guardrail_2")
LIFT = 0.12  # of the primary, found in about 19 of 20 experiments at the planned end
THRESHOLD = 0.02 * COUNT.base  # practical threshold of the primary, metric's unit
TRUSTED = TrustVerdict(Trust.TRUSTED, ())
FINAL = (Decision.SHIP, Decision.STOP, Decision.DO_NOT_SHIP)


@dataclass(frozen=True)
class DecisionCase:
    """A true state of the world, and what may go wrong in it."""

    name: str
    primary: float  # true relative lift
    guardrail: float  # true relative change of the first guardrail; more is better
    wrong: Decision
    promise: Promise
    target: float


SCENARIOS = (
    DecisionCase("no effect, no harm: ships", 0.0, 0.0, Decision.SHIP, Promise.AT_MOST, ONE_SIDED),
    DecisionCase("no effect, no harm: do_not_ship", 0.0, 0.0, Decision.DO_NOT_SHIP, Promise.REPORTED, ONE_SIDED),
    DecisionCase("no effect, no harm: stops", 0.0, 0.0, Decision.STOP, Promise.AT_MOST, ONE_SIDED),
    DecisionCase("primary worse by 12%: ships", -LIFT, 0.0, Decision.SHIP, Promise.AT_MOST, 0.001),
    DecisionCase(
        "primary better, guardrail harmed by its margin: ships",
        LIFT,
        -MARGIN,
        Decision.SHIP,
        Promise.AT_MOST,
        ONE_SIDED,
    ),
    DecisionCase(
        "primary better, guardrail harmed by three margins: ships",
        LIFT,
        -3 * MARGIN,
        Decision.SHIP,
        Promise.AT_MOST,
        0.001,
    ),
    DecisionCase(
        "primary better, guardrail harmed by three margins: stops",
        LIFT,
        -3 * MARGIN,
        Decision.STOP,
        Promise.REPORTED,
        1.0,
    ),
    DecisionCase("primary better by 12%, no harm: ships", LIFT, 0.0, Decision.SHIP, Promise.REPORTED, 0.8),
)


def decision_errors(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Follow each experiment day by day, act on its first final decision, and count the wrong ones."""
    for name, shares in SPLITS.items():
        units = split(DAYS * PER_DAY, shares)
        acted: dict[tuple[float, float], NDArray[np.str_]] = {}
        for case in SCENARIOS:
            key = (case.primary, case.guardrail)
            if key not in acted:
                acted[key] = first_actions(rng, experiments, units, *key)
            hits = acted[key] == case.wrong.value
            study = f"decision, {DAYS} daily looks"
            yield finding(study, f"{name}, {case.name}", case.promise, case.target, hits)


def first_actions(
    rng: np.random.Generator, experiments: int, units: Sizes, primary: float, guardrail: float
) -> NDArray[np.str_]:
    """The first final decision of each experiment, or the last day's when none is."""
    main = _daily(cuped_effect(simulate(COUNT, rng, experiments, units, primary, DAYS)))
    harmed = _daily(cuped_effect(simulate(MEAN, rng, experiments, units, guardrail, DAYS)))
    harmless = _daily(cuped_effect(simulate(MEAN, rng, experiments, units, 0.0, DAYS)))
    statuses = [_guardrail_statuses(harmed[i], harmless[i]) for i in range(experiments)]
    return np.array([_follow(main[i], statuses[i]) for i in range(experiments)])


def _daily(effect: Effect) -> Effect:
    """Lead (experiment, day)."""
    return with_anytime(effect, DAYS * PER_DAY)[0]


def _guardrail_statuses(first: Effect, second: Effect) -> list[tuple[tuple[str, str], ...]]:
    """Statuses of both guardrails on each day: anytime until the last, fixed on it; Holm over the two."""
    both = Effect(**{name: np.stack([vars(first)[name], vars(second)[name]], axis=1) for name in vars(first)})
    looks = assess_guardrails(both, MARGIN, True, anytime=True, axis=1).status
    end = assess_guardrails(both, MARGIN, True, axis=1).status
    rows = [*looks[:-1], end[-1]]
    return [tuple(zip(GUARDRAILS, map(str, row), strict=True)) for row in rows]


def _follow(effect: Effect, guardrails: list[tuple[tuple[str, str], ...]]) -> str:
    decision = Decision.KEEP_RUNNING
    for day, row in enumerate(guardrails):
        last = day == DAYS - 1
        arm = ArmEvidence("treatment", _primary(effect, day, last), row)
        decision = decide_arm(arm, TRUSTED, Moment(last, day + 1, ALPHA)).decision
        if decision in FINAL:
            break
    return decision.value


def _primary(effect: Effect, day: int, planned_end: bool) -> Primary:
    low, high, p_value = (
        (effect.effect_abs_ci_low, effect.effect_abs_ci_high, effect.p_value)
        if planned_end
        else (effect.anytime_ci_low, effect.anytime_ci_high, effect.anytime_p_value)
    )
    ok = bool(effect.ok[day])
    estimate, low_end, high_end, p = (
        float(column[day]) if ok else None for column in (effect.effect_abs, low, high, p_value)
    )
    return Primary(str(effect.status[day]), str(effect.reason[day]), estimate, low_end, high_end, p, True, THRESHOLD)
