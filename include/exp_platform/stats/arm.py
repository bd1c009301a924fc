"""An arm as an estimator knows it, and the base that a relative effect divides by."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from exp_platform.stats.sufficient import Array


@dataclass(frozen=True, eq=False)
class Arm:
    """The level of a metric in one arm, whatever the estimator; arrays of one shape, in the metric's own unit."""

    n: Array  # units with a value
    mean: Array  # mean, ratio, quantile or adjusted mean
    sd: Array  # standard deviation between units of the (linearised, adjusted) value
    var_mean: Array  # sampling variance of `mean`
    df: Array  # degrees of freedom of `var_mean`

    def __getitem__(self, index: Any) -> Arm:
        """Index the leading axes."""
        return Arm(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Base:
    """The base of a relative effect: control's level, or the counterfactual of difference-in-differences."""

    mean: Array
    var: Array  # sampling variance of `mean`
    cov_effect: Array  # sampling covariance of `mean` with the absolute effect
    df: Array
