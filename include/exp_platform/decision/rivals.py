"""Treatment arms compared with each other: is one of them better than another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from exp_platform.config.models import Metric
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.arm import Arm
from exp_platform.stats.effect import compare
from exp_platform.stats.error import larger
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sequential import with_anytime
from exp_platform.status import Method, ResultStatus

Row = Mapping[str, Any]


def beaten(rows: Sequence[Row], metric: Metric, plan: AnalysisPlan) -> dict[str, tuple[str, ...]]:
    """For each arm the others than which it is significantly better, from the deciding rows of the primary metric.

    Means, shares and ratios are compared by the level, spread and size of each arm, by the interval in force, with Holm
    over the pairs. The rows of quantiles and of difference-in-differences do not hold what it takes. In a rollout each
    effect is, besides, that on the arm's own users, who were not drawn at random: it says nothing of another arm's.
    """
    found: dict[str, list[str]] = {row["variant_id"]: [] for row in rows}
    pairs = list(combinations([row for row in rows if _comparable(row, metric)], 2))
    if not pairs:
        return dict.fromkeys(found, ())
    first, second = (_arm([pair[side] for pair in pairs]) for side in (0, 1))
    effect = compare(
        first,
        second,
        alpha=plan.experiment.alpha,
        min_units=plan.experiment.min_units,
        error=larger(first, second),
    )
    looks = with_anytime(effect, plan.planned_users)
    p_value = holm(looks.p_value if plan.interval_in_force == "fixed" else looks.anytime_p_value)
    for (one, other), change, p in zip(pairs, effect.effect_abs, p_value, strict=True):
        if p < plan.experiment.alpha:
            better, worse = (other, one) if bool(change > 0) is (metric.direction == "increase") else (one, other)
            found[better["variant_id"]].append(worse["variant_id"])
    return {arm: tuple(others) for arm, others in found.items()}


def _comparable(row: Row, metric: Metric) -> bool:
    known = row["status"] == ResultStatus.OK.value and row["treatment_sd"] is not None
    return known and row["method"] != Method.DID.value and metric.type != "quantile"


def _arm(rows: Sequence[Row]) -> Arm:
    n, mean, sd = (np.array([row[f"treatment_{name}"] for row in rows], dtype=float) for name in ("n", "mean", "sd"))
    return Arm(n, mean, sd, sd**2 / n, n - 1)
