"""Rows of the statistics and aggregate tables, made from exact sums by group without a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.models import Metric
from exp_platform.metrics.families import Family
from exp_platform.sums.group_sums import ALL, GROUP, NO_BUCKET, Totals, covariate_means, roll_up, with_empty_arms
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.scales import Scales

SORT = ("metric_name", "variant_id", "segment", "cohort_date", "unit_bucket", "date_kind", "date")


@dataclass(frozen=True)
class Statistics:
    """The sums of one family by group, with every live arm, and the scales and means that turn them into rows."""

    experiment_id: str
    family: Family
    sums: pa.Table
    scales: Scales
    means: dict[int, float]

    @classmethod
    def of(
        cls, experiment_id: str, family: Family, sums: pa.Table, scales: Scales, variants: Sequence[str]
    ) -> Statistics:
        """Complete the sums that Spark's tasks returned by the arms without units and the covariates' means."""
        complete = with_empty_arms(sums, family, variants)
        return cls(experiment_id, family, complete, scales, covariate_means(complete, family, scales))

    def rows(self, histograms: Histograms, schema: pa.Schema) -> pa.Table:
        """Rows of gold.fct_experiment_metric_statistics."""
        totals = Totals(self.sums, self.family, self.scales, self.means)
        x, v = self.family.x_letters, self.family.v_letters
        keys = list(zip(*(self.sums[name].to_pylist() for name in GROUP), strict=True))
        columns: dict[str, Any] = {
            **self._names(self.sums),
            **{name: self.sums[name] for name in ("variant_id", "segment", "cohort_date", "unit_bucket")},
            **{name: self.sums[name] for name in ("n", "n_null", "n_mature", "did_n")},
            **{name: totals.sum(name) for name in ("y", "yy", "yyy", "d", "dd", "yd")},
            "covariates": [list(self.family.covariates)] * self.sums.num_rows,
            "x": totals.vector(x),
            "xx": totals.matrix(x),
            "xy": totals.vector(x, suffix="y"),
            "dx": totals.vector(x, suffix="d"),
            "did_v": totals.vector(v, prefix="v_"),
            "did_vv": totals.matrix(v, prefix="v_"),
            "rest": self._rest(),
            **histograms.columns(keys),
            "with_denominator": self.sums["n_d"] if self.family.name == "ratio" else None,
            "cap": [self.scales.cap(f"y{key[0]}") for key in keys],
            "cap_denominator": [self.scales.cap(f"y{key[0]}_1") for key in keys],
        }
        return as_table(columns, schema)

    def _rest(self) -> pa.Array:
        """The rests of all sums in the rows by cohort date, as `products_of` lists them; null in the rows by bucket."""
        counted = pc.equal(self.sums["unit_bucket"], NO_BUCKET).combine_chunks()
        mine = Totals(self.sums.filter(counted), self.family, self.scales, self.means)
        rests = [mine.rest(product) for product in products_of(self.family)]
        offsets = np.concatenate([[0], np.cumsum(counted.to_numpy(zero_copy_only=False)) * len(rests)])
        flat = np.stack(rests, axis=1).ravel()
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(flat), mask=pc.invert(counted))

    def overall(self, schema: pa.Schema) -> pa.Table:
        """Rows of exp.metric_aggregates_overall."""
        return self._aggregates(roll_up(self._by_cohort_date(), ["metric", "variant_id", "segment"]), {}, schema)

    def by_cohort_date(self, schema: pa.Schema) -> pa.Table:
        """Rows of exp.metric_aggregates_daily, date_kind `cohort`."""
        dated = self._by_cohort_date().filter(pc.field("cohort_date").is_valid())
        more = {"date_kind": ["cohort"] * dated.num_rows, "date": dated["cohort_date"]}
        return self._aggregates(dated, more, schema)

    def _by_cohort_date(self) -> pa.Table:
        return self.sums.filter(pc.field("unit_bucket") == NO_BUCKET)

    def _names(self, sums: pa.Table) -> dict[str, Any]:
        metrics: dict[int, Metric] = dict(self.family.members)
        numbers = sums["metric"].to_pylist()
        return {
            "experiment_id": [self.experiment_id] * len(numbers),
            "metric_name": [metrics[i].name for i in numbers],
            "metric_version": [metrics[i].version for i in numbers],
        }

    def _aggregates(self, sums: pa.Table, more: dict[str, Any], schema: pa.Schema) -> pa.Table:
        """Aggregate rows. A ratio has the numerator's sums, and the denominator's in their own columns.

        The sums of an event-level quantile are null.
        """
        totals = Totals(sums, self.family, self.scales, self.means)
        metrics = dict(self.family.members)
        null = np.array([metrics[i].of_events for i in sums["metric"].to_pylist()], dtype=bool)
        moments = {
            "sum": "y", "sum_squares": "yy", "covariate_sum": "x", "covariate_sum_squares": "xx",
            "covariate_cross_product": "xy",
        }  # fmt: skip
        parts = {"denominator_sum": "d", "denominator_sum_squares": "dd", "denominator_cross_product": "yd"}
        columns = {
            **self._names(sums),
            **{name: sums[name] for name in ("variant_id", "segment", "n", "n_null")},
            **{name: pa.array(totals.sum(s), mask=null) for name, s in moments.items()},
            **more,
        }
        if self.family.name == "ratio":
            columns |= {name: totals.sum(s) for name, s in parts.items()}
        return as_table(columns, schema)


def products_of(family: Family) -> list[str]:
    """The product of each number of a row that is a sum, in the order of the columns y, yy, yyy, d, dd, yd, x, xx, xy,
    dx, did_v and did_vv; a product that the family lacks is 0."""
    x, v = family.x_letters, family.v_letters
    xx, vv = ([pair if a <= b else pair[::-1] for pair, a, b in _square(letters)] for letters in (x, v))
    single = [[*x], xx, [f"{letter}y" for letter in x], [f"{letter}d" for letter in x]]
    return [
        "y",
        "yy",
        "yyy",
        "d",
        "dd",
        "yd",
        *(name for part in single for name in part),
        *(f"v_{name}" for name in (*v, *vv)),
    ]


def _square(letters: str) -> list[tuple[str, int, int]]:
    """Every pair of letters, row by row, with their places."""
    places = range(len(letters))
    return [(letters[i] + letters[j], i, j) for i in places for j in places]


def units_of(statistics: pa.Table) -> dict[tuple[str, date], int]:
    """(arm, cohort date) -> number of included units, read from one metric's rows: every metric counts every unit."""
    rows = _units_of_segments(statistics, pc.field("segment") == ALL)
    return {(row["variant_id"], row["cohort_date"]): row["n"] + row["n_null"] for row in rows}


def units_by_value(statistics: pa.Table, dimension: str) -> dict[tuple[str, date], dict[str, int]]:
    """(arm, cohort date) -> value of a dimension -> number of included units; units without a value are left out."""
    prefix = f"{dimension}="
    found: dict[tuple[str, date], dict[str, int]] = {}
    for row in _units_of_segments(statistics, pc.starts_with(pc.field("segment"), prefix)):
        values = found.setdefault((row["variant_id"], row["cohort_date"]), {})
        values[row["segment"].removeprefix(prefix)] = row["n"] + row["n_null"]
    return found


def _units_of_segments(statistics: pa.Table, segments: pc.Expression) -> list[dict[str, Any]]:
    of_one_metric = pc.field("metric_name") == statistics["metric_name"][0]
    mine = statistics.filter(of_one_metric & segments & pc.field("cohort_date").is_valid())
    rows: list[dict[str, Any]] = mine.select(["variant_id", "segment", "cohort_date", "n", "n_null"]).to_pylist()
    return rows


def as_table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table with the declared columns and types; a column that is not given is null."""
    rows = len(columns["metric_name"])
    arrays = [_array(columns.get(field.name), field, rows) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables, sorted by their grain."""
    merged = pa.concat_tables(tables)
    return merged.sort_by([(name, "ascending") for name in SORT if name in merged.column_names])


def _array(values: Any, field: pa.Field, rows: int) -> pa.Array | pa.ChunkedArray:
    if values is None:
        return pa.nulls(rows, field.type)
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values.cast(field.type)
    return pa.array(values, field.type)
