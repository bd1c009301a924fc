"""J5: unit rows to mergeable sums by metric, arm, segment, cohort date and unit bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import mul

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.values import unit_values
from exp_platform.transforms.exact_sums import limb_names, limb_sums, merge_limbs, power_of_two, total
from exp_platform.transforms.metric_values import Scale, scaled

GROUP = ["metric", "variant_id", "segment", "cohort_date", "unit_bucket"]
COUNTS = ("n", "n_null", "n_mature", "n_x", "did_n")
ALL = "all"
NO_BUCKET = -1

# A sum of products and the letters that are multiplied. y value, x covariate, p pre-period of
# difference-in-differences; d, w, q the same of a ratio's denominator; g is 1 for units in difference-in-differences
# (p and q are 0 elsewhere); z is 1 where the covariate is missing.
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
    """Metrics whose statistics have the same shape: plain, ratio, or counts only (event-level quantiles)."""

    name: str
    members: tuple[tuple[int, Metric], ...]
    products: dict[str, str] = field(default_factory=dict)
    letters: str = ""


def families(metrics: Sequence[Metric]) -> tuple[Family, ...]:
    """Every metric in its family; empty families are left out."""
    parts: dict[int, list[tuple[int, Metric]]] = {0: [], 1: [], 2: []}
    for i, metric in enumerate(metrics):
        parts[len(unit_values(metric))].append((i, metric))
    found = (
        Family("plain", tuple(parts[1]), PLAIN, "yxp"),
        Family("ratio", tuple(parts[2]), RATIO, "yxpdwq"),
        Family("events", tuple(parts[0])),
    )
    return tuple(family for family in found if family.members)


def group_sums(values: DataFrame, family: Family, scales: dict[str, Scale]) -> DataFrame:
    """Counts and exact limbs by group, in both grouping sets."""
    records = F.array(*(_record(i, metric, family, scales) for i, metric in family.members))
    long = in_groups(values.select("variant_id", "cohort_date", "unit_bucket", "dimensions", F.inline(records)))
    letters = {letter: F.col(letter) for letter in family.letters}
    letters |= {"g": F.col("in_did").cast("double"), "z": F.when(F.col("has_x"), 0.0).otherwise(1.0)}
    sums = [
        limb
        for name, product in family.products.items()
        for limb in limb_sums(name, reduce(mul, (letters[letter] for letter in product)))
    ]
    counts = [F.count(F.when(condition, F.lit(1))).alias(name) for name, condition in _counted().items()]
    return long.groupBy(*GROUP).agg(*counts, *sums)


def in_groups(long: DataFrame) -> DataFrame:
    """Each row once for every group that its unit is in: all and its segments by cohort date, and all by bucket."""
    no_date = F.lit(None).cast("date")
    whole = F.array(
        _group(F.lit(ALL), F.col("cohort_date"), F.lit(NO_BUCKET)), _group(F.lit(ALL), no_date, F.col("unit_bucket"))
    )
    own = F.transform(
        F.map_entries("dimensions"),
        lambda e: _group(F.concat(e["key"], F.lit("="), e["value"]), F.col("cohort_date"), F.lit(NO_BUCKET)),
    )
    others = [c for c in long.columns if c not in ("cohort_date", "unit_bucket", "dimensions")]
    return long.select(*others, F.inline(F.concat(whole, own)))


def roll_up(sums: DataFrame, family: Family, by: Sequence[str]) -> DataFrame:
    """Sums of groups put together, exactly."""
    return sums.groupBy(*by).agg(*(F.sum(c).alias(c) for c in COUNTS), *merge_limbs(family.products))


def covariate_means(sums: DataFrame, family: Family, scales: dict[str, Scale]) -> dict[int, float]:
    """Pooled mean of each plain metric's covariate over the units in the estimate that have one; what a null takes."""
    if family.name != "plain":
        return {}
    pooled = sums.where(F.col("unit_bucket") != NO_BUCKET).groupBy("metric")
    rows = pooled.agg(F.sum("n_x").alias("n_x"), *merge_limbs(["x"]))
    rows = rows.select("metric", "n_x", total("x", scale_of("x", family, scales)).alias("x")).collect()
    return {row["metric"]: row["x"] / row["n_x"] for row in rows if row["n_x"]}


def scale_of(product: str, family: Family, scales: dict[str, Scale]) -> Column:
    """Per metric, the power of two that a sum of products was divided by."""
    letters = [COLUMN_OF[letter] for letter in family.products[product] if letter in COLUMN_OF]
    return by_metric(
        {i: power_of_two(sum(scales[name.format(i)].exponent for name in letters)) for i, _ in family.members}, "double"
    )


def by_metric(values: dict[int, object], kind: str) -> Column:
    """A literal that depends on the metric's number; null for the others."""
    chosen = [F.when(F.col("metric") == i, F.lit(value).cast(kind)) for i, value in values.items()]
    return F.coalesce(*chosen, F.lit(None).cast(kind))


def with_empty_arms(sums: DataFrame, family: Family, variants: Sequence[str]) -> DataFrame:
    """The same, and a row of zeros (all, no date, bucket -1) for each metric × live arm that has no unit at all."""
    wanted = sums.sparkSession.createDataFrame(
        [(i, variant, ALL, None, NO_BUCKET) for i, _ in family.members for variant in variants],
        "metric int, variant_id string, segment string, cohort_date date, unit_bucket int",
    )
    empty = wanted.join(sums.select("variant_id").distinct(), "variant_id", "left_anti")
    zeros = [F.lit(0).cast("bigint").alias(c) for c in COUNTS]
    zeros += [F.lit(0.0).alias(limb) for name in family.products for limb in limb_names(name)]
    return sums.unionByName(empty.select(*GROUP, *zeros))


def _record(i: int, metric: Metric, family: Family, scales: dict[str, Scale]) -> Column:
    """What one unit adds to one metric: what it has, and its numbers, 0 where they do not count."""
    mature = F.col(f"mature{i}")
    value = F.col(f"y{i}")
    has = value.isNotNull() & mature if metric.maturity_in_force == "complete" else value.isNotNull()
    fields = {"metric": F.lit(i), "has": has, "mature": mature, "has_x": F.lit(False), "in_did": F.lit(False)}
    if family.letters:
        in_did = has & mature & F.col(f"p{i}").isNotNull()
        fields |= {"has_x": has & F.col(f"x{i}").isNotNull(), "in_did": in_did}
        for letter in family.letters:
            column = COLUMN_OF[letter].format(i)
            counts = in_did if letter in "pq" else has
            number = F.when(counts, scaled(column, scales[column]))
            fields[letter] = F.coalesce(number, F.lit(0.0))
    return F.struct(*(column.alias(name) for name, column in fields.items()))


def _counted() -> dict[str, Column]:
    has = F.col("has")
    return {"n": has, "n_null": ~has, "n_mature": F.col("mature"), "n_x": F.col("has_x"), "did_n": F.col("in_did")}


def _group(segment: Column, cohort_date: Column, bucket: Column) -> Column:
    return F.struct(segment.alias("segment"), cohort_date.alias("cohort_date"), bucket.alias("unit_bucket"))
