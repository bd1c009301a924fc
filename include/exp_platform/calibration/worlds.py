"""Simulated experiments: units with a history, as sums in the record that the engine reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.sufficient import Array, SufficientStatistics

DRAWS_AT_ONCE = 1_500_000  # units held in memory
Sizes = tuple[int, int]  # units of control and of treatment
SPLITS = {"50/50": (0.5, 0.5), "90/10": (0.9, 0.1)}


@dataclass(frozen=True)
class Units:
    """Unit values of many experiments: arrays (experiment, unit), covariates with a last axis."""

    y: Array
    x: Array
    d: Array | None
    v: Array  # (y, pre y), for a ratio (y, d, pre y, pre d)


@dataclass(frozen=True)
class World:
    """A metric with a known truth: `draw(rng, shape, lift)` gives units whose mean (or ratio) is base · (1 + lift)."""

    name: str
    base: float
    draw: Callable[[np.random.Generator, tuple[int, ...], float], Units]
    ratio: bool = False
    binary: bool = False


def simulate(
    world: World, rng: np.random.Generator, experiments: int, units: Sizes, lift: float = 0.0, days: int = 1
) -> SufficientStatistics:
    """Experiments with so many units in control and in treatment, lead (arm, experiment, day).

    With `days` above 1 the units arrive evenly and the sums are cumulative: element [..., t] is the look after day t.
    """
    arms = []
    for size, arm_lift in zip(units, (0.0, lift), strict=True):
        step, parts = max(1, DRAWS_AT_ONCE // size), []
        for start in range(0, experiments, step):
            drawn = world.draw(rng, (min(step, experiments - start), size), arm_lift)
            parts.append(_sums(drawn, days))
        arms.append(_concatenate(parts))
    return SufficientStatistics.stack(arms)


def split(total: int, shares: tuple[float, float]) -> Sizes:
    """So many units dealt to control and treatment."""
    control = round(total * shares[0])
    return control, total - control


def simulate_buckets(
    world: World, rng: np.random.Generator, per_arm: int, lift: float, buckets: int = 256
) -> SufficientStatistics:
    """One experiment whose units fall into buckets at random, lead (arm, bucket)."""
    arms = []
    for arm_lift in (0.0, lift):
        each = _sums(world.draw(rng, (per_arm, 1), arm_lift), days=1)[:, 0]
        member = np.eye(buckets)[rng.integers(0, buckets, per_arm)].T
        arms.append(SufficientStatistics(**{name: np.tensordot(member, v, axes=1) for name, v in vars(each).items()}))
    return SufficientStatistics.stack(arms)


def _sums(units: Units, days: int) -> SufficientStatistics:
    """Cumulative sums over `days` equal slices of the units; lead (experiment, day)."""

    def by_day(values: Array) -> Array:
        experiments, n = values.shape[:2]
        return values.reshape(experiments, days, n // days, *values.shape[2:])

    def total(values: Array) -> Array:
        return np.cumsum(values.sum(axis=2), axis=1)

    def products(left: Array, right: Array) -> Array:
        return np.cumsum(np.einsum("edui,eduj->edij", left, right), axis=1)

    y, x, v = by_day(units.y), by_day(units.x), by_day(units.v)
    d = np.zeros_like(y) if units.d is None else by_day(units.d)
    n = np.broadcast_to(y.shape[2] * np.arange(1.0, days + 1), y.shape[:2])
    return SufficientStatistics(
        n=n,
        n_null=np.zeros_like(n),
        y=total(y),
        yy=total(y**2),
        yyy=total(y**3),
        x=total(x),
        xx=products(x, x),
        xy=total(x * y[..., None]),
        d=total(d),
        dd=total(d**2),
        yd=total(y * d),
        dx=total(x * d[..., None]),
        did_n=n,
        did_v=total(v),
        did_vv=products(v, v),
    )


def _concatenate(parts: list[SufficientStatistics]) -> SufficientStatistics:
    return SufficientStatistics(**{name: np.concatenate([vars(p)[name] for p in parts]) for name in vars(parts[0])})


def _plain(y: Array, pre: Array) -> Units:
    return Units(y, pre[..., None], None, np.stack([y, pre], axis=-1))


def _mean(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> Units:
    level = rng.normal(10, 2, shape)
    return _plain(level + 10 * lift + rng.normal(0, 1.5, shape), level + rng.normal(0, 1.5, shape))


def _count(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> Units:
    rate = rng.gamma(2.0, 1.5, shape)
    return _plain(rng.poisson(rate * (1 + lift)).astype(float), rng.poisson(rate).astype(float))


def _binary(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> Units:
    rate = 0.02 + 0.24 * rng.random(shape) ** 2  # mean 0.1
    return _plain((rng.random(shape) < rate * (1 + lift)).astype(float), (rng.random(shape) < rate).astype(float))


def _revenue(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> Units:
    """One unit in twelve pays, and what it pays is lognormal."""
    level = rng.normal(0, 1, shape)

    def spend(scale: float) -> Array:
        paid = np.zeros(shape)
        payer = rng.random(shape) < 1 / 12
        paid[payer] = scale * np.exp(3 + 0.8 * level[payer] + rng.normal(0, 0.6, int(payer.sum())))
        return paid

    return _plain(spend(1 + lift), spend(1.0))


def _ratio(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> Units:
    """Clicks per session: sessions and click rate differ between units."""
    activity, taste = rng.gamma(2.0, 1.0, shape), rng.gamma(4.0, 0.25, shape)
    d, pre_d = ((1 + rng.poisson(activity)).astype(float) for _ in range(2))
    y = rng.poisson(d * taste * (1 + lift)).astype(float)
    pre_y = rng.poisson(pre_d * taste).astype(float)
    return Units(y, np.stack([pre_y, pre_d], axis=-1), d, np.stack([y, d, pre_y, pre_d], axis=-1))


MEAN = World("mean", 10.0, _mean)
COUNT = World("count", 3.0, _count)
BINARY = World("binary", 0.1, _binary, binary=True)
REVENUE = World("revenue", float(np.exp(3 + (0.64 + 0.36) / 2) / 12), _revenue)
RATIO = World("ratio", 1.0, _ratio, ratio=True)
WORLDS = (MEAN, COUNT, BINARY, REVENUE, RATIO)


def latencies(
    rng: np.random.Generator, units: int, scale: float = 1.0, events: int = 1
) -> tuple[Array, NDArray[np.int64]]:
    """Event values and the unit of each, for quantiles: lognormal with a level of the unit's own."""
    unit = np.repeat(np.arange(units), events)
    level = rng.normal(0, 0.5, units)[unit]
    return scale * np.exp(5 + level + rng.normal(0, 0.6, len(unit))), unit
