"""The sampling error of a difference between two arms: each arm's own, or pooled where the arms are uneven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exp_platform.stats.arm import Arm, Base
from exp_platform.stats.sufficient import Array

TIE = 1e-9  # relative difference below which two variances count as equal: with equal arms they are


@dataclass(frozen=True, eq=False)
class Error:
    """Variance of treatment − control, its degrees of freedom, and the factor by which control's part has grown."""

    variance: Array
    df: Array
    control_growth: Array

    def of_base(self, base: Base) -> Base:
        """The base with its variance and covariance grown as control's part of the error has."""
        grown = self.control_growth
        return Base(base.mean, base.var * grown, base.cov_effect * grown, base.df)


def welch(control: Arm, treatment: Arm) -> Error:
    """Each arm's own variance, with Satterthwaite's degrees of freedom."""
    with np.errstate(all="ignore"):
        variance = treatment.var_mean + control.var_mean
    df = satterthwaite((treatment.var_mean, control.var_mean), (treatment.df, control.df))
    return Error(variance, df, np.ones_like(variance))


def larger(control: Arm, treatment: Arm, skewed: Any = True) -> Error:
    """Welch's error, and where the units are too `skewed` for it the pooled one if that is larger.

    A small arm shows its own variance only if it holds the values that make it: with rare events or heavy tails an arm
    of a few hundred units often has none of them, and then its mean and its error are small together. Pooled, the large
    arm shows them. Arms of equal size have equal errors either way.
    """
    own = welch(control, treatment)
    with np.errstate(all="ignore"):
        within = [side.var_mean * side.n * (side.n - 1) for side in (control, treatment)]
        unit = (within[0] + within[1]) / (control.n + treatment.n - 2)
        pooled = unit / control.n + unit / treatment.n
        grows = skewed & (pooled > own.variance * (1 + TIE))
        known = np.broadcast_to(control.var_mean > 0, own.variance.shape)
        growth = np.where(grows & known, unit / control.n / np.where(known, control.var_mean, 1.0), 1.0)
        return Error(np.where(grows, pooled, own.variance), np.where(grows, control.df + treatment.df, own.df), growth)


def shrunk(plain: Error, plain_own: Error, adjusted_own: Error) -> Error:
    """The plain error shrunk by the factor by which a covariate shrinks Welch's.

    A covariate takes the same share from what a small arm shows and from what it fails to show.
    """
    with np.errstate(all="ignore"):
        # A plain variance of 0 has nothing to shrink.
        growth = np.where(plain_own.variance > 0, plain.variance / plain_own.variance, 1.0)
        df = np.where(growth > 1, plain.df, adjusted_own.df)
        return Error(adjusted_own.variance * growth, df, plain.control_growth)


def satterthwaite(variances: Sequence[Array], dfs: Sequence[Array]) -> Array:
    """Degrees of freedom of a sum of independent variance estimates."""
    with np.errstate(all="ignore"):
        total = np.sum(np.broadcast_arrays(*variances), axis=0)
        # Shares, because the square of a small variance is 0. A component without variance adds nothing, also where it
        # has no degree of freedom of its own.
        lost = [
            np.where(v > 0, (v / total) ** 2 / np.where(f > 0, f, np.nan), 0.0)
            for v, f in zip(variances, dfs, strict=True)
        ]
        return np.asarray(1 / np.sum(np.broadcast_arrays(*lost), axis=0), dtype=float)
