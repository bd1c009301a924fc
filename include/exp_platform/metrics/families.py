"""Families of metrics: plain metrics and ratios, with the sums of products that the statistics of each need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exp_platform.config.models import Metric

COUNTS = ("n", "n_null", "n_mature", "n_x", "did_n")

# Name of a sum of products -> the letters that are multiplied. y is the value, x the covariate, p the pre-period of
# difference-in-differences; d, w and q are value, covariate and pre-period of a ratio's denominator. g is 1 for units
# in difference-in-differences (p and q are 0 elsewhere); z is 1 where the covariate is missing.
PLAIN = {
    "y": "y", "yy": "yy", "yyy": "yyy", "x": "x", "xx": "xx", "xy": "xy", "y_without_x": "zy",
    "v_y": "gy", "v_p": "p", "v_yy": "gyy", "v_yp": "yp", "v_pp": "pp",
}  # fmt: skip
RATIO = {
    "y": "y", "yy": "yy", "yyy": "yyy", "d": "d", "dd": "dd", "yd": "yd", "x": "x", "w": "w", "xx": "xx", "xw": "xw",
    "ww": "ww", "xy": "xy", "wy": "wy", "xd": "xd", "wd": "wd", "v_y": "gy", "v_d": "gd", "v_p": "p", "v_q": "q",
    "v_yy": "gyy", "v_yd": "gyd", "v_yp": "yp", "v_yq": "yq", "v_dd": "gdd", "v_dp": "dp", "v_dq": "dq", "v_pp": "pp",
    "v_pq": "pq", "v_qq": "qq",
}  # fmt: skip
COLUMN_OF = {"y": "y{}", "x": "x{}", "p": "p{}", "d": "y{}_1", "w": "x{}_1", "q": "p{}_1"}


@dataclass(frozen=True)
class Family:
    """A family of metrics: the plain ones, with event-level quantiles, which only count units, or the ratios."""

    name: str
    members: tuple[tuple[int, Metric], ...]
    products: dict[str, str]
    letters: str  # letters of the numbers that a unit has
    covariates: tuple[str, ...]
    x_letters: str  # letters of the covariates
    v_letters: str  # letters of the numbers in difference-in-differences


def families(metrics: Sequence[Metric]) -> tuple[Family, ...]:
    """Every metric with its number, by family; an empty family is left out."""
    numbered = tuple(enumerate(metrics))
    plain = tuple((i, m) for i, m in numbered if not m.is_ratio)
    ratio = tuple((i, m) for i, m in numbered if m.is_ratio)
    found = (
        Family("plain", plain, PLAIN, "yxp", ("pre",), "x", "yp"),
        Family("ratio", ratio, RATIO, "yxpdwq", ("pre_numerator", "pre_denominator"), "xw", "ydpq"),
    )
    return tuple(family for family in found if family.members)


def split_by_exposure(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics that are compared by exposure: a quantile of all users is not made of those of two groups."""
    return tuple(metric for metric in metrics if metric.estimand != "quantile")
