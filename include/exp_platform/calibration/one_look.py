"""One look at the planned end: false positives, coverage and power of every metric type and method."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from exp_platform.calibration.findings import UNMEASURED, Measured, Promise, finding
from exp_platform.calibration.worlds import MEAN, REVENUE, SPLITS, WORLDS, Sizes, World, latencies, simulate, split
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
# Units with a denominator of the smaller arm, units, and the rate of an earlier version.
FEW_CARRIERS: tuple[tuple[int, Sizes, float | str], ...] = (
    (5, (200, 200), 0.185),
    (10, (200, 200), 0.100),
    (25, (200, 200), 0.065),
    (10, (1_800, 200), UNMEASURED),
    (25, (1_800, 200), UNMEASURED),
)
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


def false_positives(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A/A at one look: p below alpha in alpha of the experiments; with uneven arms and skewed units in fewer."""
    for world in WORLDS:
        for name, shares in SPLITS.items():
            arms = simulate(world, rng, experiments, split(_total(world), shares))
            for method in METHODS:
                p_value = estimate(world, method, arms).p_value
                case = f"{world.name}, {method}, {name}"
                yield finding("A/A, one look", case, _exactly(name), ALPHA, _asked(p_value) < ALPHA)


def coverage(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """With a known effect of 10% both intervals hold the truth in 1 − alpha of the experiments."""
    lift = 0.1
    for world in WORLDS:
        for name, shares in SPLITS.items():
            arms = simulate(world, rng, experiments, split(_total(world), shares), lift)
            for method in METHODS:
                effect = estimate(world, method, arms)
                truths = (
                    ("absolute", lift * world.base, effect.effect_abs_ci_low, effect.effect_abs_ci_high),
                    ("relative", lift, effect.effect_rel_ci_low, effect.effect_rel_ci_high),
                )
                for scale, truth, low, high in truths:
                    known = np.isfinite(low)
                    covered = (low[known] <= truth) & (truth <= high[known])
                    case = f"{world.name}, {method}, {scale}, {name}"
                    promise = Promise.EQUALS if name == "50/50" else Promise.AT_LEAST
                    yield finding("coverage of an effect of 10%", case, promise, 1 - ALPHA, covered)


def quantiles(rng: np.random.Generator, experiments: int, units: int = 1500) -> Iterator[Measured]:
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


def power(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """At the effect stated as detectable, experiments find it as often as the power formula says."""
    for world in WORLDS:
        for name, shares in SPLITS.items():
            for method in ("ab", "cuped"):
                yield _power(rng, experiments, world, method, name, shares)


def _power(
    rng: np.random.Generator, experiments: int, world: World, method: str, name: str, shares: tuple[float, float]
) -> Measured:
    units = split(_total(world), shares)
    blank = estimate(world, method, simulate(world, rng, 200, units))
    lift = float(np.nanmedian(blank.mde)) / world.base
    effect = estimate(world, method, simulate(world, rng, experiments, units, lift))
    # A lift of counts, rates and revenue moves their spread: the formula gets the error at that effect.
    spread = float(np.sqrt(np.nanmean(effect.se_abs**2)))
    formula = float(power_of(lift * world.base, spread, float(np.nanmedian(effect.df))))
    found = _asked(effect.p_value) < ALPHA
    case = f"{world.name}, {method}, effect {lift:.1%}, {name}"
    # With uneven arms the error of skewed units depends on what the small arm holds: no formula of one error fits.
    promise = Promise.EQUALS if name == "50/50" else Promise.REPORTED
    return finding("power against the formula", case, promise, formula, found, allowance=0.01)


def skewed(
    rng: np.random.Generator, experiments: int, sizes: tuple[int, ...] = (500, 2_000, 20_000)
) -> Iterator[Measured]:
    """Skewed revenue at several sizes and an uneven split, with what the skewness rule says of each."""
    for units in (*((n, n) for n in sizes), (9_000, 1_000)):
        arms = simulate(REVENUE, rng, experiments, units)
        effect = mean_effect(arms)
        warned = skewness(arms).warn.any(axis=0).mean()
        promise = Promise.EQUALS if units[0] == units[1] else Promise.AT_MOST
        case = f"revenue, {units[0]:,} against {units[1]:,} units (skewness rule warns in {warned:.0%})"
        yield finding("skewed revenue, A/A", case, promise, ALPHA, effect.p_value < ALPHA, allowance=0.01)


def unlike_slopes(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """CUPED where the arms follow the covariate with slopes of their own: it holds, and is never wider than plain."""
    for control, treatment in ((1.0, -1.0), (1.0, 0.0), (0.0, 2.0)):
        for name, shares in SPLITS.items():
            sides = []
            for n, slope in zip(split(1_000, shares), (control, treatment), strict=True):
                x = rng.normal(2, 1, (experiments, n))
                sides.append(_records(10 + slope * (x - 2) + rng.normal(0, 1, x.shape), x))
            arms = SufficientStatistics.stack(sides)
            effect, plain = cuped_effect(arms), mean_effect(arms)
            case = f"slopes {control:g} and {treatment:g}, {name}"
            yield finding("CUPED, unlike slopes", f"A/A, {case}", Promise.EQUALS, ALPHA, effect.p_value < ALPHA)
            wider = effect.se_abs > plain.se_abs * (1 + 1e-9)
            opposite = (control, treatment) == (1.0, -1.0)
            before = ("variance 1.75 times" if name == "90/10" else UNMEASURED) if opposite else None
            what = f"wider than plain, {case}"
            yield finding("CUPED, unlike slopes", what, Promise.AT_MOST, 0.0, wider, before=before)


def few_denominators(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A/A of a ratio whose denominator is 0 for most units: the others are those that count."""
    for carriers, units, before in FEW_CARRIERS:
        sides, counts = [], []
        for n in units:
            active = rng.random((experiments, n)) < carriers / min(units)
            d = np.where(active, 1 + rng.poisson(3, active.shape), 0).astype(float)
            y = rng.poisson(d * rng.gamma(4, 0.25, d.shape)).astype(float)
            sides.append(_ratio_records(y, d))
            counts.append(active.sum(axis=1).astype(float))
        arms, counted = SufficientStatistics.stack(sides), np.stack(counts)
        for how, with_denominator in (("counted", counted), ("a lower bound", None)):
            effect = ratio_effect(
                arms, min_units=5 if with_denominator is not None else 100, with_denominator=with_denominator
            )
            hits = (effect.p_value < ALPHA)[effect.ok if effect.ok.any() else ...]
            answered = f"{effect.ok.mean():.0%} answered"
            case = f"{carriers} of {units[1]} units, {units[0]} against {units[1]}, {how} ({answered})"
            yield finding(
                "ratio with few denominators, A/A", case, Promise.AT_MOST, ALPHA, hits, allowance=0.01, before=before
            )


def imputed_covariate(rng: np.random.Generator, experiments: int, total: int = 3000) -> Iterator[Measured]:
    """New users get the pooled covariate mean: an effect on them alone is still covered."""
    share_new, lift = 0.4, 1.0
    for name, shares in SPLITS.items():
        arms = []
        for n, gain in zip(split(total, shares), (0.0, lift), strict=True):
            units = MEAN.draw(rng, (experiments, n), 0.0)
            new = rng.random((experiments, n)) < share_new
            arms.append(_records(units.y + gain * new, np.where(new, 10.0, units.x[..., 0])))
        effect = cuped_effect(SufficientStatistics.stack(arms))
        truth = share_new * lift
        covered = (effect.effect_abs_ci_low <= truth) & (truth <= effect.effect_abs_ci_high)
        case = f"effect on new users alone, covariate imputed, {name}"
        yield finding("coverage, CUPED", case, Promise.EQUALS, 1 - ALPHA, covered)


def studies() -> tuple[Callable[[np.random.Generator, int], Iterator[Measured]], ...]:
    """All studies of this module that take a number of experiments."""
    return (false_positives, coverage, power, imputed_covariate, unlike_slopes, few_denominators)


def _exactly(name: str) -> Promise:
    return Promise.EQUALS if name == "50/50" else Promise.AT_MOST


def _total(world: World) -> int:
    """Units at which the type is usually run: skewed revenue needs more."""
    return 12_000 if world is REVENUE else 2_000


def _asked(p_value: Array) -> Array:
    return p_value[np.isfinite(p_value)]


def _records(y: Array, x: Array) -> SufficientStatistics:
    """Sums over the last axis with one covariate."""
    empty = SufficientStatistics.zeros(y.shape[:1], k=1)
    sums = {
        "n": np.full(y.shape[0], float(y.shape[1])),
        "y": y.sum(axis=1),
        "yy": (y**2).sum(axis=1),
        "yyy": (y**3).sum(axis=1),
        "x": x.sum(axis=1)[:, None],
        "xx": (x**2).sum(axis=1)[:, None, None],
        "xy": (x * y).sum(axis=1)[:, None],
    }
    return SufficientStatistics(**{**vars(empty), **sums})


def _ratio_records(y: Array, d: Array) -> SufficientStatistics:
    """Sums over the last axis of a ratio without covariates."""
    empty = vars(SufficientStatistics.zeros(y.shape[:1]))
    sums = {"y": y, "yy": y**2, "yyy": y**3, "d": d, "dd": d**2, "yd": y * d}
    n = np.full(y.shape[0], float(y.shape[1]))
    return SufficientStatistics(**{**empty, "n": n, **{name: value.sum(axis=1) for name, value in sums.items()}})
