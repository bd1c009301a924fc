"""All assigned users beside the exposed ones: coverage of the complier and diluted effects, alarms of their check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.calibration.findings import Measured, Promise, finding
from exp_platform.calibration.worlds import DRAWS_AT_ONCE, SPLITS, Sizes, split
from exp_platform.stats.complier import complier_effect, diluted_effect, gap
from exp_platform.stats.effect import Effect
from exp_platform.stats.exposed_ratio import complier_ratio_effect
from exp_platform.stats.sufficient import Array, SufficientStatistics
from exp_platform.stats.thresholds import CHECK_SPEAKS_BELOW

ALPHA = 0.05
STUDY = "all assigned users beside the exposed"
TOTAL = 2_000
RATES = (0.6, 0.3)  # share of users who are exposed
MORE = 1.5  # denominators of treated users over those that they would have
Reached = NDArray[np.bool_]


@dataclass(frozen=True)
class ExposedWorld:
    """A metric of which exposed users have more; `draw(rng, exposed, lift, moves)` gives values and denominators."""

    name: str
    draw: Callable[[np.random.Generator, Reached, Array, Array], tuple[Array, Array]]
    estimate: Callable[..., Effect]
    ratio: bool


def split_by_exposure(
    world: ExposedWorld,
    rng: np.random.Generator,
    experiments: int,
    units: Sizes,
    rate: float,
    lift: float,
    *,
    spill: float = 0.0,
    moves: float = 1.0,
) -> tuple[SufficientStatistics, SufficientStatistics]:
    """Sums of everyone and of the exposed, lead (arm, experiment); `spill` is the lift of those not exposed."""
    whole: list[SufficientStatistics] = []
    some: list[SufficientStatistics] = []
    for arm, size in enumerate(units):
        step, parts = max(1, DRAWS_AT_ONCE // size), []
        for start in range(0, experiments, step):
            exposed = rng.random((min(step, experiments - start), size)) < rate
            lifted = arm * np.where(exposed, lift, spill)
            parts.append((*world.draw(rng, exposed, lifted, np.where(exposed & (arm == 1), moves, 1.0)), exposed))
        y, d, exposed = (np.concatenate([part[i] for part in parts]) for i in range(3))
        whole.append(_sums(y, d, np.ones_like(exposed), world.ratio))
        some.append(_sums(y, d, exposed, world.ratio))
    return SufficientStatistics.stack(whole), SufficientStatistics.stack(some)


def rows(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Both effects hold a lift of 0.3 on those reached; the check is silent where the others have none."""
    lift = 0.3
    for name, shares in SPLITS.items():
        for rate in RATES:
            units, where = split(TOTAL, shares), f"{name}, {rate:.0%} exposed"
            for world, moves in ((SPEND, 1.0), (CLICKS, 1.0), (CLICKS, MORE)):
                pair = split_by_exposure(world, rng, experiments, units, rate, lift, moves=moves)
                case = f"{world.name}, {where}" + (", the treatment adds to the denominator" if moves > 1 else "")
                yield _covered(f"complier effect, {case}", world.estimate(*pair, min_units=20), lift, relative=True)
                if not world.ratio:
                    diluted = diluted_effect(*pair, min_units=20)
                    yield _covered(f"diluted effect, {case}", diluted, lift * rate, relative=False)
                    yield from _alarms(case, gap(*pair).p_value)


def _covered(case: str, effect: Effect, truth: float, *, relative: bool) -> Measured:
    scale = "rel" if relative else "abs"
    low, high = (getattr(effect, f"effect_{scale}_ci_{end}") for end in ("low", "high"))
    known = np.isfinite(low)
    hits = (low[known] <= truth) & (truth <= high[known])
    return finding(STUDY, f"{case}: covered", Promise.AT_LEAST, 1 - ALPHA, hits, allowance=0.005)


def _alarms(case: str, p_value: Array) -> Iterator[Measured]:
    """The unexposed have no effect: rates of the check's own threshold, and of one at which there is more to count."""
    for below, allowance in ((CHECK_SPEAKS_BELOW, 0.0), (ALPHA, 0.005)):
        what = f"agreement, {case}: p below {below:g} without an effect on the unexposed"
        yield finding(STUDY, what, Promise.AT_MOST, below, p_value < below, allowance=allowance)


def _spend(rng: np.random.Generator, exposed: Reached, lift: Array, moves: Array) -> tuple[Array, Array]:
    level = rng.gamma(2.0, 1.0, exposed.shape) * (1 + exposed)
    return level + lift, moves


def _clicks(rng: np.random.Generator, exposed: Reached, lift: Array, moves: Array) -> tuple[Array, Array]:
    """Clicks per session: exposed users have more sessions, and more clicks in each."""
    activity, taste = rng.gamma(2.0, 1.0, exposed.shape), rng.gamma(4.0, 0.25, exposed.shape)
    d: Array = 1.0 + rng.poisson(activity * (1 + exposed) * moves).astype(float)
    y: Array = rng.poisson(d * taste * (1 + 0.3 * exposed + lift)).astype(float)
    return y, d


def _sums(y: Array, d: Array, keep: Reached, ratio: bool) -> SufficientStatistics:
    """Sums over the last axis of the units that are kept."""
    values = {"n": np.ones_like(y), "y": y, "yy": y**2, "yyy": y**3}
    if ratio:
        values |= {"d": d, "dd": d**2, "yd": y * d}
    sums = {name: np.einsum("eu,eu->e", value, keep) for name, value in values.items()}
    return SufficientStatistics(**{**vars(SufficientStatistics.zeros(y.shape[:1])), **sums})


SPEND = ExposedWorld("mean", _spend, complier_effect, ratio=False)
CLICKS = ExposedWorld("ratio", _clicks, complier_ratio_effect, ratio=True)
