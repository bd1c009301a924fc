"""Families of metrics: metrics whose statistics need the same sums of products, since their covariates are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from exp_platform.config.models import Metric
from exp_platform.metrics.values import covariate_values

COUNTS = ("n", "n_null", "n_mature", "n_x", "did_n", "n_d")

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
NAMED = "ABCDEFGHIJKLMNOP"  # letters of the values that a contract names as covariates, 0 where one is missing
ABSENT = "QRSTUVWX"  # letters that are 1 where such a value is missing
COLUMN_OF = {
    "y": "y{}", "x": "x{}", "p": "p{}", "d": "y{}_1", "w": "x{}_1", "q": "p{}_1",
    **{letter: f"c{{}}_{place}" for place, letter in enumerate(NAMED)},
}  # fmt: skip

PRE = "pre"  # the metric's own value before the assignment
MISSING = ".missing"  # end of the name of a covariate that is 1 where another is missing


@dataclass(frozen=True)
class Family:
    """Metrics with the same covariates: plain ones, with event-level quantiles, which only count units, or ratios."""

    name: str
    members: tuple[tuple[int, Metric], ...]
    products: dict[str, str]
    letters: str  # letters of the numbers that a unit has
    covariates: tuple[str, ...]
    x_letters: str  # letters of the covariates
    v_letters: str  # letters of the numbers in difference-in-differences
    absent: tuple[tuple[str, str], ...] = ()  # letter that is 1 where the number of another letter is missing


def families(metrics: Sequence[Metric]) -> tuple[Family, ...]:
    """Every metric with its number, by family: plain ones, ratios, then those whose contracts name covariates."""
    groups: dict[tuple[bool, tuple[str, ...]], list[tuple[int, Metric]]] = {(False, ()): [], (True, ()): []}
    for i, metric in enumerate(metrics):
        groups.setdefault((metric.is_ratio, metric.covariates), []).append((i, metric))
    return tuple(_family(ratio, tuple(members)) for (ratio, _), members in groups.items() if members)


def covariate_source(name: str) -> str:
    """The source that a covariate of the statistics belongs to: `pre` for the metric's own, else a metric's name."""
    if name in (PRE, "pre_numerator", "pre_denominator"):
        return PRE
    return name.split(".", 1)[0]


def _family(ratio: bool, members: tuple[tuple[int, Metric], ...]) -> Family:
    if ratio:
        family = Family("ratio", members, RATIO, "yxpdwq", ("pre_numerator", "pre_denominator"), "xw", "ydpq")
    else:
        family = Family("plain", members, PLAIN, "yxp", (PRE,), "x", "yp")
    return _with_named(family) if members[0][1].covariates else family


def _with_named(family: Family) -> Family:
    """The family with the products of the covariates that its contracts name; all members name the same ones."""
    values = covariate_values(family.members[0][1])
    letters = ""
    names: list[str] = []
    absent: list[tuple[str, str]] = []
    for value, letter in zip(values, NAMED, strict=False):
        letters, names = letters + letter, [*names, value.key]
        if not value.traits.zero_without_events:
            flag = ABSENT[len(absent)]
            absent.append((flag, letter))
            letters, names = letters + flag, [*names, value.key + MISSING]
    own = family.x_letters
    ends = ("", "y", "d") if family.name == "ratio" else ("", "y")
    products = [letter + end for letter in letters for end in ends]
    products += [a + b for a in (own if family.name == "ratio" else own + "z") for b in letters]
    products += [a + b for a, b in combinations_with_replacement(letters, 2)]
    return Family(
        family.name,
        family.members,
        family.products | {product: product for product in products},
        family.letters + "".join(letter for letter in letters if letter in NAMED),
        (*family.covariates, *names),
        own + letters,
        family.v_letters,
        tuple(absent),
    )


def split_by_exposure(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics that are compared by exposure: a quantile of all users is not made of those of two groups."""
    return tuple(metric for metric in metrics if metric.estimand != "quantile")
