"""One look at the planned end: false positives, coverage and power of every metric type and method."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from exp_platform.calibration.findings import Finding, Promise, finding
from exp_platform.calibration.worlds import MEAN, REVENUE, WORLDS, World, latencies, simulate
from exp_platform.causal.did import did_effect
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.power import power_of
from exp_platform.stats.quantile import Histogram, quantile_effect
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sanity import skewness
from exp_platform.stats.sufficient import Array, SufficientStatistics

ALPHA = 0.05
METHODS = ("ab", "cuped", "did")
STEP = 2.674  # Poisson rate at which half of the units have at most 2
QUANTILES = ((0.5, 1), (0.9, 1), (0.9, 8))  # quantile, events per unit


def estimate(world: World, method: str, arms: SufficientStatistics, alpha: float = ALPHA) -> Effect:
    """The engine's answer for a metric of this world."""
    if method == "cuped":
        return cuped_effect(arms, ratio=world.ratio, binary=world.binary, alpha=alpha)
    if method == "did":
        return did_effect(arms, ratio=world.ratio, binary=world.binary, alpha=alpha)
    if world.ratio:
        return ratio_effect(arms, alpha=alpha)
    return mean_effect(arms, binary=world.binary, alpha=alpha)


def false_positives(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """A/A at one look: p below alpha in alpha of the experiments, on both scales."""
    for world in WORLDS:
        arms = simulate(world, rng, experiments, _units(world))
        for method in METHODS:
            effect = estimate(world, method, arms)
            for scale, p_value in (("absolute", effect.p_value), ("relative", effect.p_value_rel)):
                # Treatment / control is skewed where control is known to a tenth only: the relative scale of revenue.
                extra = 0.01 if world is REVENUE and scale == "relative" else 0.0
                case = f"{world.name}, {method}, {scale}"
                hits = _asked(p_value) < ALPHA
                yield finding("A/A, one look", case, Promise.EQUALS, ALPHA, hits, allowance=extra)


def coverage(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """With a known effect of 10% the interval holds the truth in 1 − alpha of the experiments."""
    lift = 0.1
    for world in WORLDS:
        arms = simulate(world, rng, experiments, _units(world), lift)
        for method in METHODS:
            effect = estimate(world, method, arms)
            truths = (
                ("absolute", lift * world.base, effect.effect_abs_ci_low, effect.effect_abs_ci_high),
                ("relative", lift, effect.effect_rel_ci_low, effect.effect_rel_ci_high),
            )
            for scale, truth, low, high in truths:
                known = np.isfinite(low)
                covered = (low[known] <= truth) & (truth <= high[known])
                yield finding(
                    "coverage of an effect of 10%",
                    f"{world.name}, {method}, {scale}",
                    Promise.EQUALS,
                    1 - ALPHA,
                    covered,
                )


def quantiles(rng: np.random.Generator, experiments: int, units: int = 1500) -> Iterator[Finding]:
    """A/A and coverage of quantiles of unit values and of events clustered in units."""
    for q, events in QUANTILES:
        kind = "unit values" if events == 1 else f"events, {events} per unit"
        for study, scale in (("A/A, one look", 1.0), ("coverage of an effect of 10%", 1.1)):
            effects = [quantile_experiment(rng, q, events, units, scale) for _ in range(experiments)]
            inside = [e.effect_rel_ci_low[0] <= scale - 1 <= e.effect_rel_ci_high[0] for e in effects]
            if scale == 1.0:
                hits, target = [e.p_value[0] < ALPHA for e in effects], ALPHA
            else:
                hits, target = inside, 1 - ALPHA
            # The interval by inversion is asymptotic: at this n half a point beside the nominal is accepted.
            yield finding(study, f"quantile {q:g} of {kind}", Promise.EQUALS, target, hits, allowance=0.005)
    counts = [[rng.poisson(STEP, units).astype(float) for _ in range(2)] for _ in range(experiments)]
    effects = [
        quantile_effect([Histogram.from_values(arm, np.arange(units)) for arm in pair], 0.5, alpha=ALPHA)
        for pair in counts
    ]
    hits = [bool(e.ok[0]) and e.p_value[0] < ALPHA for e in effects]
    yield finding("A/A, one look", "quantile 0.5 of a count, on the step from 2 to 3", Promise.AT_MOST, ALPHA, hits)


def quantile_experiment(rng: np.random.Generator, q: float, events: int, units: int, scale: float) -> Effect:
    """One experiment on a latency quantile."""
    arms = [Histogram.from_values(*latencies(rng, units, s, events)) for s in (1.0, scale)]
    return quantile_effect(arms, q, alpha=ALPHA)


def power(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """At the effect stated as detectable, experiments find it as often as the power formula says."""
    for world in WORLDS:
        for method in ("ab", "cuped"):
            per_arm = _units(world)
            blank = estimate(world, method, simulate(world, rng, 200, per_arm))
            lift = float(np.nanmedian(blank.mde)) / world.base
            effect = estimate(world, method, simulate(world, rng, experiments, per_arm, lift))
            # A lift of counts, rates and revenue moves their spread: the formula gets the error at that effect.
            spread = float(np.sqrt(np.nanmean(effect.se_abs**2)))
            formula = float(power_of(lift * world.base, spread, float(np.nanmedian(effect.df))))
            found = _asked(effect.p_value) < ALPHA
            case = f"{world.name}, {method}, effect {lift:.1%}"
            yield finding("power against the formula", case, Promise.EQUALS, formula, found, allowance=0.01)


def skewed(
    rng: np.random.Generator, experiments: int, sizes: tuple[int, ...] = (500, 2_000, 20_000)
) -> Iterator[Finding]:
    """Skewed revenue at several sizes and an uneven split, with what the skewness rule says of each."""
    for per_arm, treated in (*((n, n) for n in sizes), (9_000, 1_000)):
        arms = SufficientStatistics.stack(
            [simulate(REVENUE, rng, experiments, n)[arm] for arm, n in enumerate((per_arm, treated))]
        )
        effect = mean_effect(arms)
        warned = skewness(arms).warn.any(axis=0).mean()
        promise = Promise.EQUALS if per_arm == treated else Promise.REPORTED
        case = f"revenue, {per_arm:,} against {treated:,} units (skewness rule warns in {warned:.0%})"
        yield finding("skewed revenue, A/A", case, promise, ALPHA, effect.p_value < ALPHA, allowance=0.01)


def imputed_covariate(rng: np.random.Generator, experiments: int, n: int = 1500) -> Iterator[Finding]:
    """New users get the pooled covariate mean: an effect on them alone is still covered."""
    share_new, lift = 0.4, 1.0
    arms = []
    for gain in (0.0, lift):
        units = MEAN.draw(rng, (experiments, n), 0.0)
        new = rng.random((experiments, n)) < share_new
        y = units.y + gain * new
        x = np.where(new, 10.0, units.x[..., 0])
        arms.append(_records(y, x))
    effect = cuped_effect(SufficientStatistics.stack(arms))
    truth = share_new * lift
    covered = (effect.effect_abs_ci_low <= truth) & (truth <= effect.effect_abs_ci_high)
    yield finding("coverage, CUPED", "effect on new users alone, covariate imputed", Promise.EQUALS, 1 - ALPHA, covered)


def studies() -> tuple[Callable[[np.random.Generator, int], Iterator[Finding]], ...]:
    """All studies of this module that take a number of experiments."""
    return (false_positives, coverage, power, imputed_covariate)


def _units(world: World) -> int:
    """Units per arm at which the type is usually run: skewed revenue needs more."""
    return 6_000 if world is REVENUE else 1_000


def _asked(p_value: Array) -> Array:
    return p_value[np.isfinite(p_value)]


def _records(y: Array, x: Array) -> SufficientStatistics:
    """Sums over the last axis with one covariate."""
    empty = SufficientStatistics.zeros(y.shape[:1], k=1)
    sums = {
        "n": np.full(y.shape[0], float(y.shape[1])),
        "y": y.sum(axis=1),
        "yy": (y**2).sum(axis=1),
        "x": x.sum(axis=1)[:, None],
        "xx": (x**2).sum(axis=1)[:, None, None],
        "xy": (x * y).sum(axis=1)[:, None],
    }
    return SufficientStatistics(**{**vars(empty), **sums})
