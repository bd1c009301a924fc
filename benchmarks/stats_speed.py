"""Results of 100 metrics × 3 variants × 30 days × 10 segments from the statistics, and tea-tasting on the same sums.

python -m benchmarks.stats_speed
"""

from __future__ import annotations

import time

import numpy as np
import tea_tasting as tt
from tea_tasting.aggr import Aggregates

from exp_platform.causal.did import did_effect
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.heterogeneity import heterogeneity
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics

VARIANTS, METRICS, DAYS, SEGMENTS = 3, 100, 30, 10
SAMPLE = 400  # cells for which tea-tasting is timed


def statistics(seed: int = 1) -> SufficientStatistics:
    """Sums of a metric with one covariate, lead (variant, metric, day, segment), as if from 2,000 units a cell."""
    rng = np.random.default_rng(seed)
    lead = (VARIANTS, METRICS, DAYS, SEGMENTS)
    n = rng.integers(1500, 2500, lead).astype(float)
    mean, mean_x = rng.normal(10, 0.05, lead), rng.normal(9, 0.05, lead)
    var, var_x = rng.uniform(3, 5, lead), rng.uniform(3, 5, lead)
    cov = 0.6 * np.sqrt(var * var_x)
    y, x = n * mean, n * mean_x
    yy, xx, xy = (
        (n - 1) * v + n * a * b for v, a, b in ((var, mean, mean), (var_x, mean_x, mean_x), (cov, mean, mean_x))
    )
    products = np.stack([np.stack([yy, xy], axis=-1), np.stack([xy, xx], axis=-1)], axis=-2)
    empty = vars(SufficientStatistics.zeros(lead, k=1, m=2))
    sums = {"n": n, "y": y, "yy": yy, "x": x[..., None], "xx": xx[..., None, None], "xy": xy[..., None]}
    did = {"did_n": n, "did_v": np.stack([y, x], axis=-1), "did_vv": products}
    return SufficientStatistics(**{**empty, **sums, **did})


def our_job(arms: SufficientStatistics) -> list[Effect]:
    """Three methods with fixed and anytime intervals, both scales, Holm, heterogeneity and guardrails of every cell."""
    results = [with_anytime(f(arms), 20_000) for f in (mean_effect, cuped_effect, did_effect)]
    for effect in results:
        holm(effect.p_value, axis=-1)
        heterogeneity(effect)
    assess_guardrails(results[1], 0.05, True, axis=1)
    return results


def their_seconds_per_cell(arms: SufficientStatistics) -> tuple[float, float]:
    """tea-tasting's seconds for the plain and the covariate-adjusted answer of one cell; and the largest difference."""
    cells = [
        np.unravel_index(i, arms.lead[1:]) for i in np.linspace(0, METRICS * DAYS * SEGMENTS - 1, SAMPLE, dtype=int)
    ]
    pairs = [[_aggregates(arms[(arm, *cell)]) for arm in (0, 1)] for cell in cells]
    plain, adjusted = tt.Mean("y"), tt.Mean("y", "x")
    start = time.process_time()
    theirs = [(plain.analyze_aggregates(*pair), adjusted.analyze_aggregates(*pair)) for pair in pairs]
    seconds = (time.process_time() - start) / SAMPLE
    ours = mean_effect(arms)
    gaps = [abs(t[0].pvalue - ours.p_value[(0, *cell)]) for t, cell in zip(theirs, cells, strict=True)]
    return seconds, max(gaps)


def _aggregates(s: SufficientStatistics) -> Aggregates:
    n = float(s.n)
    return Aggregates(
        count_=int(n),
        mean_={"y": float(s.y / n), "x": float(s.x[0] / n)},
        var_={"y": float((s.yy - s.y**2 / n) / (n - 1)), "x": float((s.xx[0, 0] - s.x[0] ** 2 / n) / (n - 1))},
        cov_={("x", "y"): float((s.xy[0] - s.x[0] * s.y / n) / (n - 1))},
    )


def main() -> None:
    """Print seconds, microseconds per result and the ratio to tea-tasting."""
    arms = statistics()
    our_job(arms)
    times = []
    for _ in range(5):
        start = time.process_time()
        results = our_job(arms)
        times.append(time.process_time() - start)
    seconds = float(np.median(times))
    rows = sum(effect.effect_abs.size for effect in results)
    start = time.process_time()
    two_methods = [with_anytime(f(arms), 20_000) for f in (mean_effect, cuped_effect)]
    ours = (time.process_time() - start) / two_methods[0].effect_abs.size
    theirs, gap = their_seconds_per_cell(arms)
    print(
        f"{METRICS} metrics × {VARIANTS} variants × {DAYS} days × {SEGMENTS} segments, three methods: {rows:,} results"
    )
    print(f"  {seconds:.2f} s of one core ({1e6 * seconds / rows:.1f} µs a result); goal: under 2 s")
    print(f"  one cell, plain and CUPED: tea-tasting {1e6 * theirs:.0f} µs, ours {1e6 * ours:.1f} µs", end="")
    print(f", ratio {theirs / ours:.0f}")
    print(f"  largest difference of the plain p-value over {SAMPLE} cells: {gap:.1e}")


if __name__ == "__main__":
    main()
