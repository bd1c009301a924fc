"""J5: exact sums to the rows of the statistics and aggregate tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.transforms.exact_sums import total
from exp_platform.transforms.metric_statistics import Family, by_metric, scale_of
from exp_platform.transforms.metric_values import Scale

COVARIATES = {"plain": ("pre",), "ratio": ("pre_numerator", "pre_denominator"), "events": ()}
X_LETTERS = {"plain": "x", "ratio": "xw", "events": ""}
V_LETTERS = {"plain": "yp", "ratio": "ydpq", "events": ""}


class Totals:
    """The sums of one family as double columns, null covariates replaced by the pooled mean."""

    def __init__(self, family: Family, scales: dict[str, Scale], means: dict[int, float]) -> None:
        self._family, self._scales = family, scales
        self._mean = by_metric({i: means.get(i, 0.0) for i, _ in family.members}, "double")

    def sum(self, product: str) -> Column:
        """One sum; 0 where the family does not have it."""
        if product not in self._family.products:
            return F.lit(0.0)
        plain = total(product, scale_of(product, self._family, self._scales))
        if self._family.name != "plain" or product not in ("x", "xx", "xy"):
            return plain
        missing = (F.col("n") - F.col("n_x")).cast("double")
        fill = {
            "x": missing * self._mean,
            "xx": missing * self._mean * self._mean,
            "xy": self.sum("y_without_x") * self._mean,
        }[product]
        return F.when(missing > 0, plain + fill).otherwise(plain)

    def vector(self, letters: str, prefix: str = "", suffix: str = "") -> Column:
        """Sums of single letters."""
        return _doubles([self.sum(prefix + letter + suffix) for letter in letters])

    def matrix(self, letters: str, prefix: str = "") -> Column:
        """Sums of pairs, row-major."""
        upper = {pair: self.sum(prefix + "".join(pair)) for pair in combinations_with_replacement(letters, 2)}
        return _doubles([upper[pair] if (pair := (a, b)) in upper else upper[b, a] for a in letters for b in letters])


def statistics_rows(
    sums: DataFrame,
    family: Family,
    scales: dict[str, Scale],
    means: dict[int, float],
    histograms: DataFrame | None,
    experiment_id: str,
) -> DataFrame:
    """Rows of gold.fct_experiment_metric_statistics from the sums of one family."""
    totals = Totals(family, scales, means)
    x, v = X_LETTERS[family.name], V_LETTERS[family.name]
    rows = sums if histograms is None else _with_histogram(sums, histograms)
    histogram = F.lit(None).cast("map<int,bigint>") if histograms is None else F.col("histogram")
    return rows.select(
        F.lit(experiment_id).alias("experiment_id"),
        by_metric({i: m.name for i, m in family.members}, "string").alias("metric_name"),
        by_metric({i: m.version for i, m in family.members}, "int").alias("metric_version"),
        "variant_id",
        "segment",
        "cohort_date",
        "unit_bucket",
        "n",
        "n_null",
        "n_mature",
        *(totals.sum(name).alias(name) for name in ("y", "yy", "yyy")),
        F.array(*(F.lit(name) for name in COVARIATES[family.name])).cast("array<string>").alias("covariates"),
        totals.vector(x).alias("x"),
        totals.matrix(x).alias("xx"),
        totals.vector(x, suffix="y").alias("xy"),
        *(totals.sum(name).alias(name) for name in ("d", "dd", "yd")),
        totals.vector(x, suffix="d").alias("dx"),
        "did_n",
        totals.vector(v, prefix="v_").alias("did_v"),
        totals.matrix(v, prefix="v_").alias("did_vv"),
        histogram.alias("histogram"),
        _cap("y{}", family, scales).alias("cap"),
        _cap("y{}_1", family, scales).alias("cap_denominator"),
    )


def aggregate_rows(
    sums: DataFrame,
    family: Family,
    scales: dict[str, Scale],
    means: dict[int, float],
    experiment_id: str,
    keys: Sequence[Column],
) -> DataFrame:
    """Rows of exp.metric_aggregates_*: for a ratio the sums are the numerator's, beside those of the denominator."""
    totals = Totals(family, scales, means)
    columns = {
        "sum": "y",
        "sum_squares": "yy",
        "covariate_sum": "x",
        "covariate_sum_squares": "xx",
        "covariate_cross_product": "xy",
    }
    denominator = {"denominator_sum": "d", "denominator_sum_squares": "dd", "denominator_cross_product": "yd"}
    is_ratio = family.name == "ratio"
    null = F.lit(None).cast("double")
    return sums.select(
        F.lit(experiment_id).alias("experiment_id"),
        by_metric({i: m.name for i, m in family.members}, "string").alias("metric_name"),
        *keys,
        "n",
        "n_null",
        *((totals.sum(s) if family.products else null).alias(name) for name, s in columns.items()),
        *((totals.sum(s) if is_ratio else null).alias(name) for name, s in denominator.items()),
    )


def _with_histogram(sums: DataFrame, histograms: DataFrame) -> DataFrame:
    keys = ["metric", "variant_id", "segment", "unit_bucket"]
    right = histograms.select(*(F.col(c).alias(f"h_{c}") for c in (*keys, "cohort_date")), "histogram")
    same = F.col("cohort_date").eqNullSafe(F.col("h_cohort_date"))
    for key in keys:
        same = same & (F.col(key) == F.col(f"h_{key}"))
    return sums.join(right, same, "left")


def _cap(column: str, family: Family, scales: dict[str, Scale]) -> Column:
    caps = {i: scales[name].cap for i, _ in family.members if (name := column.format(i)) in scales}
    return by_metric(caps, "double")


def _doubles(columns: list[Column]) -> Column:
    return F.array(*columns).cast("array<double>")
