"""Record what gbstats 0.8.0 answers on fixed sums, as golden data for tests/oracle/test_golden_gbstats.py.

gbstats 0.8.0 needs pandas 1.5 and numpy below 2, so it never shares an environment with the platform:

    python3.11 -m venv gbvenv && gbvenv/bin/pip install gbstats==0.8.0
    gbvenv/bin/python benchmarks/golden/record_gbstats.py tests/oracle/golden/gbstats_0_8_0.json
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    QuantileClusteredStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from gbstats.utils import check_srm


def answer(test):
    result = test.compute_result()
    return {
        "effect": float(result.expected),
        "ci": [float(v) for v in result.ci],
        "p_value": float(result.p_value),
        "se": float(np.sqrt(test.variance)),
    }


def answers(control, treatment, sequential=True):
    """Absolute and relative, fixed and sequential answers on two statistics."""
    found = {}
    for scale in ("absolute", "relative"):
        found[scale] = answer(TwoSidedTTest(control, treatment, FrequentistConfig(difference_type=scale)))
        if sequential:
            config = SequentialConfig(difference_type=scale, sequential_tuning_parameter=10_000)
            found[f"{scale}_sequential"] = answer(SequentialTwoSidedTTest(control, treatment, config))
    return found


def moments(rows):
    """Every sum that the platform keeps of the columns of an arm's unit rows."""
    names = list(rows)
    sums = {name: float(np.sum(rows[name])) for name in names}
    products = {f"{a}*{b}": float(np.sum(rows[a] * rows[b])) for i, a in enumerate(names) for b in names[i:]}
    return {"n": len(rows[names[0]]), **sums, **products}


def mean_of(m, column):
    return SampleMeanStatistic(n=m["n"], sum=m[column], sum_squares=m[f"{column}*{column}"])


def mean_case():
    """The two arms of gbstats' own unit tests."""
    arms = [
        {"n": 3407, "y": 1396.87, "y*y": 52377.9767},
        {"n": 3461, "y": 2422.7, "y*y": 134698.29},
    ]
    return {"arms": arms, "answers": answers(*(mean_of(m, "y") for m in arms))}


def proportion_case():
    arms = [{"n": 4000, "y": 412.0}, {"n": 4100, "y": 489.0}]
    return {"arms": arms, "answers": answers(*(ProportionStatistic(n=m["n"], sum=m["y"]) for m in arms))}


def ratio_case(rng):
    arms = []
    for lift, n in ((1.0, 2500), (1.06, 2700)):
        sessions = rng.poisson(4, n) + 1.0
        arms.append(moments({"y": rng.gamma(2.0, 3.0 * lift, n) * sessions, "d": sessions}))
    stats = [
        RatioStatistic(n=m["n"], m_statistic=mean_of(m, "y"), d_statistic=mean_of(m, "d"), m_d_sum_of_products=m["y*d"])
        for m in arms
    ]
    return {"arms": arms, "answers": answers(*stats)}


def cuped_case(rng):
    arms = []
    for lift, n in ((0.0, 1800), (0.35, 2100)):
        before = rng.gamma(2.0, 2.0, n)
        arms.append(moments({"y": 0.8 * before + rng.normal(3 + lift, 2, n), "x": before}))

    def adjusted(theta):
        return [
            RegressionAdjustedStatistic(
                n=m["n"],
                post_statistic=mean_of(m, "y"),
                pre_statistic=mean_of(m, "x"),
                post_pre_sum_of_products=m["y*x"],
                theta=theta,
            )
            for m in arms
        ]

    theta = float(compute_theta(*adjusted(0.0)))
    return {"arms": arms, "theta": theta, "answers": answers(*adjusted(theta))}


def clustered_share_case(rng):
    """Variance of the share of events below a value, from the counts of each cluster."""
    size = rng.poisson(30, 200) + 1.0
    below = np.array([rng.binomial(int(n), min(max(rng.normal(0.9, 0.05), 0), 1)) for n in size], dtype=float)
    statistic = QuantileClusteredStatistic(
        n=int(size.sum()),
        n_star=int(size.sum()),
        nu=0.9,
        quantile_hat=1.0,
        quantile_lower=0.9,
        quantile_upper=1.1,
        main_sum=float(below.sum()),
        main_sum_squares=float((below**2).sum()),
        denominator_sum=float(size.sum()),
        denominator_sum_squares=float((size**2).sum()),
        main_denominator_sum_product=float((below * size).sum()),
        n_clusters=len(size),
    )
    return {"size": size.tolist(), "below": below.tolist(), "variance": float(statistic.get_cluster_variance)}


def srm_cases():
    cases = [([500, 500], [0.5, 0.5]), ([5100, 4800], [0.5, 0.5]), ([310, 480, 230], [0.3, 0.5, 0.2])]
    return [{"users": u, "weights": w, "p_value": float(check_srm(u, w))} for u, w in cases]


def main(path):
    rng = np.random.default_rng(20260201)
    golden = {
        "engine": f"gbstats {importlib.metadata.version('gbstats')}",
        "alpha": 0.05,
        "sequential_tuning_parameter": 10_000,
        "mean": mean_case(),
        "proportion": proportion_case(),
        "ratio": ratio_case(rng),
        "cuped": cuped_case(rng),
        "clustered_share": clustered_share_case(rng),
        "srm": srm_cases(),
    }
    Path(path).write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
