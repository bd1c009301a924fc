"""Sums of the covariates that a contract names, against NumPy on unit rows."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.oracle.spine_data import METRICS
from tests.unit.sums.unit_batches import batches

from exp_platform.config.models import Metric
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import METRIC_STATISTICS
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import covariate_source, families
from exp_platform.sums.group_sums import GROUP, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.numbers import all_numbers, stored_numbers
from exp_platform.sums.statistics_table import Statistics
from exp_platform.sums.unit_scales import ENDS_SCHEMA, pooled_scales, unit_ends
from exp_platform.sums.unit_sums import by_column, unit_sums

BY_NAME = {metric.name: metric for metric in METRICS}
CAP = 3.5


def naming(metric: Metric, *names: str) -> Metric:
    """The contract with covariates, filled in as the project does."""
    others = tuple(BY_NAME[name] for name in names)
    return metric.model_copy(update={"covariates": names}).with_covariates(others)


MEAN = naming(BY_NAME["mean_a"].model_copy(update={"cap": None}), "last_b", "sum_a_truncated", "count_b")
PER_B = naming(BY_NAME["per_b"].model_copy(update={"cap": None}), "count_b", "last_b")
CHOSEN = (BY_NAME["count_b"], MEAN, PER_B)


def unit_rows(units: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(units):
        row: dict[str, Any] = {
            "variant_id": "control" if rng.random() < 0.5 else "treatment", "cohort_date": date(2026, 1, 5),
            "unit_bucket": int(rng.integers(0, 3)), "dimensions": [],
        }  # fmt: skip
        for number in stored_numbers(CHOSEN):
            missing = rng.random() < 0.3 and number.key in ("mean_a", "last_b")
            row[number.column] = None if missing else float(rng.integers(0, 40)) / 8
        rows.append(row | {f"mature{i}": True for i in range(len(CHOSEN))})
    return rows


def statistics(rows: list[dict[str, Any]], size: int) -> pa.Table:
    """The rows of J5's statistics table, as its stage makes them."""
    schema, parts = arrow_schema(TABLES[METRIC_STATISTICS]), batches(rows, size, CHOSEN)
    ends = pa.Table.from_batches(unit_ends(parts, CHOSEN, len(rows)), ENDS_SCHEMA)
    scales = pooled_scales(ends, CHOSEN, len(rows))
    sums = pa.Table.from_batches(unit_sums(parts, CHOSEN, scales))
    return pa.concat_tables(
        Statistics.of("e", family, roll_up(by_column(sums, family), GROUP), scales, ()).rows(
            Histograms.merged([]), schema
        )
        for family in families(CHOSEN)
    )


def columns(rows: list[dict[str, Any]], *names: str) -> Any:
    return np.array([[np.nan if row[name] is None else row[name] for name in names] for row in rows]).T


def column_of(name: str, source: str) -> str:
    return next(n.column for n in stored_numbers(CHOSEN) if (n.key, n.source) == (name, source))


def total(table: pa.Table, metric: str, arm: str) -> dict[str, Any]:
    rows = [r for r in table.to_pylist() if (r["metric_name"], r["variant_id"]) == (metric, arm)]
    rows = [r for r in rows if r["unit_bucket"] >= 0]
    return {
        "covariates": rows[0]["covariates"],
        **{name: np.sum([r[name] for r in rows], axis=0) for name in ("n", "x", "xx", "xy", "dx")},
        "with_denominator": None if rows[0]["with_denominator"] is None else sum(r["with_denominator"] for r in rows),
    }


@pytest.mark.parametrize("size", [7, 500], ids="batches of {}".format)
def test_a_mean_takes_a_value_its_absence_and_a_capped_value_as_covariates(size: int) -> None:
    rows = unit_rows(400)
    table = statistics(rows, size)
    pooled = columns(
        [r for r in rows if r[column_of("mean_a", "metrics")] is not None], column_of("mean_a", "covariates")
    )
    mean = np.nanmean(pooled)
    for arm in ("control", "treatment"):
        mine = [r for r in rows if r["variant_id"] == arm and r[column_of("mean_a", "metrics")] is not None]
        y, own, last, capped, count = columns(
            mine, *(column_of("mean_a", s) for s in ("metrics", "covariates")),
            *(column_of(name, "covariates") for name in ("last_b", "sum_a_truncated", "count_b")),
        )  # fmt: skip
        gone = np.isnan(last)
        x = np.stack([
            np.where(np.isnan(own), mean, own), np.where(gone, 0.0, last), gone, np.minimum(capped, CAP), count,
        ])  # fmt: skip
        found = total(table, "mean_a", arm)
        assert found["covariates"] == ["pre", "last_b", "last_b.missing", "sum_a_truncated", "count_b"]
        assert found["n"] == len(mine)
        assert found["x"] == pytest.approx(x.sum(axis=1), rel=1e-12)
        assert found["xx"] == pytest.approx((x @ x.T).ravel(), rel=1e-12)
        assert found["xy"] == pytest.approx(x @ y, rel=1e-12)
        assert found["with_denominator"] is None


def test_a_ratio_takes_covariates_beside_both_of_its_parts_and_counts_units_with_a_denominator() -> None:
    rows = unit_rows(300)
    table = statistics(rows, 50)
    for arm in ("control", "treatment"):
        mine = [r for r in rows if r["variant_id"] == arm]
        parts = [
            column_of(f"per_b.{part}", s) for s in ("metrics", "covariates") for part in ("numerator", "denominator")
        ]
        y, d, *own, count, mean = columns(
            mine, *parts, column_of("count_b", "covariates"), column_of("last_b", "covariates")
        )
        gone = np.isnan(mean)
        x = np.stack([*own, count, np.where(gone, 0.0, mean), gone])
        found = total(table, "per_b", arm)
        assert found["covariates"] == ["pre_numerator", "pre_denominator", "count_b", "last_b", "last_b.missing"]
        assert found["xx"] == pytest.approx((x @ x.T).ravel(), rel=1e-12)
        assert found["xy"] == pytest.approx(x @ y, rel=1e-12)
        assert found["dx"] == pytest.approx(x @ d, rel=1e-12)
        assert found["with_denominator"] == (d != 0).sum() < len(mine)


def test_a_covariate_that_two_contracts_name_is_stored_once_and_read_by_both() -> None:
    stored = [(n.source, n.key) for n in stored_numbers(CHOSEN)]
    assert len(stored) == len(set(stored)) and ("covariates", "last_b") in stored
    assert ("metrics", "last_b") not in stored
    assert [n.key for n in all_numbers(CHOSEN) if n.column.startswith("c2_")] == ["count_b", "last_b"]


def test_a_contract_that_names_none_has_the_products_that_it_had() -> None:
    plain, mean, ratio = families(CHOSEN)
    assert (plain.covariates, plain.x_letters, len(plain.products)) == (("pre",), "x", 12)
    assert [m.name for family in (mean, ratio) for _, m in family.members] == ["mean_a", "per_b"]
    names = ("pre", "pre_denominator", "last_b", "last_b.missing", "per_b.numerator")
    assert [covariate_source(name) for name in names] == ["pre", "pre", "last_b", "last_b", "per_b"]
