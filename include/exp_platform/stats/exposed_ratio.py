"""The complier effect of a ratio: the ratio of users whom the treatment reached, against theirs without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exp_platform.stats.ab import obstacles
from exp_platform.stats.arm import Base
from exp_platform.stats.complier import few_exposed
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Effect, compare
from exp_platform.stats.error import Error, satterthwaite
from exp_platform.stats.ratio import FEW_DENOMINATORS, MIN_CARRIERS, fewest_carriers, ratio_arm, ratio_obstacles
from exp_platform.stats.sufficient import Array, SufficientStatistics

Weights = tuple[Array | float, Array | float]  # of a user's numerator and denominator


@dataclass(frozen=True, eq=False)
class Part:
    """Users of one kind in an arm, and each one's influence on two estimates: a · numerator + b · denominator."""

    sums: SufficientStatistics
    weights: tuple[Weights, Weights]

    def total(self, i: int) -> Array:
        """Sum of the influences on an estimate."""
        a, b = self.weights[i]
        return np.asarray(a * self.sums.y + b * self.sums.d)

    def product(self, i: int, j: int) -> Array:
        """Sum of the products of the influences on two estimates."""
        (a, b), (c, e), s = self.weights[i], self.weights[j], self.sums
        return np.asarray(a * c * s.yy + (a * e + b * c) * s.yd + b * e * s.dd)


def complier_ratio_effect(
    everyone: SufficientStatistics,
    exposed: SufficientStatistics,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """The change of the ratio of those whom the treatment reached, as the `effect_rel` of the result.

    Their ratio R with the treatment is seen: they are the exposed of its arm. Without it they are control's users less
    those whom the treatment would not reach, who are seen in the treatment arm: a numerator A and a denominator B for
    each user. The effect R − A / B is (R · B − A) / B, a quotient of two correlated estimates: each user's influence on
    both gives their variances, and Fieller the interval, also where the few exposed leave B uncertain. It does not
    matter whether the treatment moves the denominator. `per_exposed` moves the answer to the absolute columns.
    """
    reached, others, control = exposed[1:], _less(everyone[1:], exposed[1:]), everyone[:1]
    n, n_control = everyone.n[1:], control.n
    with np.errstate(all="ignore"):
        ratio = reached.y / reached.d
        numerator = control.y / n_control - others.y / n
        denominator = control.d / n_control - others.d / n
        share = denominator / (reached.d / n)
        # Influences on R · B − A and on B.
        treated = (Part(others, ((1.0, -ratio), (0.0, -1.0))), Part(reached, ((share, -share * ratio), (0.0, 0.0))))
        untreated = (Part(control, ((-1.0, ratio), (0.0, 1.0))),)
        variances, of_base, together = (
            (_covariance(treated, n, i, j), _covariance(untreated, n_control, i, j))
            for i, j in ((0, 0), (1, 1), (0, 1))
        )
        dfs = np.minimum(fewest_carriers(everyone[1:]), fewest_carriers(reached)) - 1, fewest_carriers(control) - 1
        df = satterthwaite(variances, dfs)
    arm = ratio_arm(everyone)
    return compare(
        arm[:1],
        arm[1:],
        effect_abs=ratio * denominator - numerator,
        alpha=alpha,
        min_units=min_units,
        error=Error(variances[0] + variances[1], df, np.ones_like(df)),
        base=Base(denominator, of_base[0] + of_base[1], together[0] + together[1], df),
        insufficient=[
            few_exposed(exposed, min_units),
            (fewest_carriers(reached) < min(max(min_units, 2), MIN_CARRIERS), FEW_DENOMINATORS),
            *ratio_obstacles(everyone, min_units, None),
            *obstacles(everyone, ratio=True),
        ],
    )


def _less(whole: SufficientStatistics, some: SufficientStatistics) -> SufficientStatistics:
    """The sums of the users who are in the first and not in the second."""
    names = ("n", "y", "yy", "d", "dd", "yd")
    return replace(whole, **{name: getattr(whole, name) - getattr(some, name) for name in names})


def _covariance(parts: Sequence[Part], n: Array, i: int, j: int) -> Array:
    """Sampling covariance of two means of influences over an arm's n users."""
    total, other = (sum(part.total(k) for part in parts) for k in (i, j))
    return np.asarray((sum(part.product(i, j) for part in parts) - total * other / n) / (n - 1) / n)
