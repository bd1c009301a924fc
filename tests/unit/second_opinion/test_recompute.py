"""The second implementation on a handful of users: which rows count, the sums of each group, and what is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from tests import hand_made as hm
from tests.unit.second_opinion.small_events import DAY1, assigned, attribute, database, outcome, put, users

from exp_platform.config.models import Metric
from exp_platform.second_opinion.cells import Cell, same
from exp_platform.second_opinion.check import chosen_metrics
from exp_platform.second_opinion.compare import compare_effects, compare_sums
from exp_platform.second_opinion.raw_events import NotChecked, in_contract_types
from exp_platform.second_opinion.recompute import Recomputed, recompute


@pytest.fixture
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with database() as connection:
        yield connection


def test_a_row_that_breaks_a_rule_of_the_contract_does_not_count(db: duckdb.DuckDBPyConnection) -> None:
    put(
        db, "outcomes", outcome("u1", 1.0, 2), outcome("", 1.0, 2), outcome("u1", float("nan"), 2),
        outcome("u1", float("inf"), 2), outcome("u1", 1.0, 2, ""), outcome("u1", 1.0, 2) | {"experiment_id": "exp_b"},
    )  # fmt: skip
    put(db, "assignments", assigned("u1", "control"), assigned("u2", "blue"), assigned("u3", "control") | {"unit": "x"})
    assert db.execute("SELECT count(*) FROM outcomes").fetchall() == [(1,)]
    assert db.execute("SELECT user_id FROM assignments").fetchall() == [("u1",)]


def test_times_without_a_zone_are_utc_and_nanoseconds_are_cut() -> None:
    moment = pa.array([1_000_000_001_999], pa.timestamp("ns"))
    columns = {name: pa.array(["a"]) for name in ("experiment_id", "user_id", "metric_name")}
    table = pa.table(columns | {"value": pa.array([1]), "outcome_ts": moment})
    found = in_contract_types(table, "outcomes")
    assert (found["outcome_ts"].to_pylist(), found["value"].to_pylist()) == ([1_000_000_001], [1.0])


def test_a_time_that_is_none_is_said_instead_of_compared() -> None:
    columns = {name: pa.array(["a"]) for name in ("experiment_id", "user_id", "metric_name", "outcome_ts")}
    with pytest.raises(NotChecked, match="outcome_ts of outcomes is string in a raw file"):
        in_contract_types(pa.table(columns | {"value": pa.array([1.0])}), "outcomes")


def spend(**more: Any) -> Metric:
    return hm.metric("spend", "sum", source="spend", window={"end_hours": 24}, pre_period_days=1, **more)


def sums_of(db: duckdb.DuckDBPyConnection, metric: Metric) -> Recomputed:
    """Two users of control spend 0.1, 0.2, 0.3 and nothing; one of treatment 1e16 and 1, which a double can't add."""
    put(db, "assignments", assigned("u1", "control"), assigned("u2", "control"), assigned("u3", "treatment"))
    put(db, "outcomes", *(outcome("u1", value, 2) for value in (0.1, 0.2, 0.3)), outcome("u1", 7.0, -1))
    put(db, "outcomes", outcome("u3", 1e16, 2), outcome("u3", 1.0, 3), outcome("u3", 1.0, 4), outcome("u3", 5.0, 30))
    put(db, "attributes", attribute("u1", "x"))
    return recompute(users(db, [metric]), metric)


def test_the_sums_are_those_of_the_window_rounded_once(db: duckdb.DuckDBPyConnection) -> None:
    found = sums_of(db, spend()).sums
    control = found["control", "all", DAY1]
    assert (control["n"], control["y"], control["x"]) == (2, 0.6, [7.0])  # 0.1 + 0.2 + 0.3 is 0.6000000000000001
    assert control["yy"] == 0.6 * 0.6
    assert found["treatment", "all", DAY1]["y"] == 1e16 + 2  # one after the other gives 1e16
    assert found["control", "os=x", DAY1]["n"] == 1


def test_a_quantile_cap_rounds_and_a_fixed_one_does_not(db: duckdb.DuckDBPyConnection) -> None:
    capped = sums_of(db, spend(cap={"value": 0.5}))
    assert capped.sums["control", "all", DAY1]["y"] == 0.5
    db.execute("DELETE FROM outcomes WHERE value > 1e10")  # beside it the bits of 0.1 are out of reach
    assert not recompute_again(db, spend(cap={"value": 0.5})).inexact
    assert "y" in recompute_again(db, spend(cap={"quantile": 0.9})).inexact


def recompute_again(db: duckdb.DuckDBPyConnection, metric: Metric) -> Recomputed:
    from exp_platform.second_opinion.spine import Oracle

    return recompute(Oracle(db, 10**18, 10**18), metric)


def published(row: dict[str, Any], **changed: Any) -> dict[str, Any]:
    keys = {"variant_id": "control", "segment": "all", "cohort_date": DAY1, "unit_bucket": -1}
    return {"with_denominator": None} | keys | row | changed


def in_bucket(row: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """All users of an arm in one bucket."""
    return published(row, cohort_date=None, unit_bucket=7, **changed)


def compared(again: Recomputed, *rows: dict[str, Any]) -> Cell:
    return compare_sums(spend(), ["control"], rows, again)["control"]


def test_one_bit_of_a_sum_is_a_difference_and_is_named(db: duckdb.DuckDBPyConnection) -> None:
    again = sums_of(db, spend())
    row = again.sums["control", "all", DAY1]
    small = Recomputed({("control", "all", DAY1): row}, frozenset())
    agreed = compared(small, published(row), in_bucket(row))
    assert (agreed.compared, agreed.differ) == (2 * 16, 0)
    wrong = compared(small, published(row, y=0.6000000000000001), in_bucket(row))
    assert wrong.differ == 1
    assert wrong.examples == [
        "y of all, 2026-01-05: published 0.6000000000000001, computed again 0.6",
    ]


def test_a_row_too_many_and_a_row_too_few_are_differences(db: duckdb.DuckDBPyConnection) -> None:
    row = sums_of(db, spend()).sums["control", "all", DAY1]
    known = Recomputed({("control", "all", DAY1): row}, frozenset())
    assert compared(known, in_bucket(row)).examples == ["row of all, 2026-01-05: published None, computed again 2"]
    assert compared(known, published(row)).examples == ["n of all buckets: published None, computed again 2.0"]
    assert compared(known, published(row), in_bucket(row), published(row, segment="os=y")).differ == 1


def test_rows_by_bucket_must_add_up_to_the_arm(db: duckdb.DuckDBPyConnection) -> None:
    row = sums_of(db, spend()).sums["control", "all", DAY1]
    known = Recomputed({("control", "all", DAY1): row}, frozenset())
    cut = [in_bucket(row, y=0.25), in_bucket(dict.fromkeys(row, 0) | {k: [0.0] * len(v) for k, v in row.items()
           if isinstance(v, list)}, y=0.35)]  # fmt: skip
    assert compared(known, published(row), *cut).differ == 0
    for changed, where in (({"n": 3}, "n"), ({"y": 0.6 + 1e-9}, "y"), ({"x": [7.0, 1.0]}, "length of x"),
                           ({"did_vv": [1.0, 0.0, 0.0, 0.0]}, "did_vv")):  # fmt: skip
        cell = compared(known, published(row), in_bucket(row, **changed))
        assert cell.differ and cell.examples[0].startswith(where) and "of all buckets" in cell.examples[0]
    assert compared(known, published(row), in_bucket(row, y=0.6 + 1e-13)).differ == 0, "each bucket is rounded"


def test_what_rounding_took_and_caps_are_counted_as_not_checked(db: duckdb.DuckDBPyConnection) -> None:
    row = sums_of(db, spend()).sums["control", "all", DAY1]
    known = Recomputed({("control", "all", DAY1): row}, frozenset())
    cell = compared(known, published(row, rest=[0.0] * 16, cap=5.0, cap_denominator=None), in_bucket(row))
    assert (cell.differ, cell.not_checked) == (0, 17)


def test_covariates_that_a_contract_names_stand_after_its_own_with_a_flag_where_users_have_none(
    db: duckdb.DuckDBPyConnection,
) -> None:
    waiting = hm.metric("waiting", "mean", source="wait", pre_period_days=2)
    visits = hm.metric("visits", "count", source="visit", pre_period_days=1)
    put(db, "outcomes", outcome("u1", 4.0, -30, "wait"), outcome("u1", 8.0, -40, "wait"))
    put(
        db,
        "outcomes",
        outcome("u1", 9.0, -60, "wait"),
        outcome("u2", 1.0, 0, "visit"),
        outcome("u2", 1.0, -25, "visit"),
    )
    named = spend(covariates=("waiting", "visits")).with_covariates((waiting, visits))
    row = sums_of(db, named).sums["control", "all", DAY1]
    assert row["x"] == [7.0, 6.0, 1.0, 1.0], "own, wait of u1, without a wait: u2, visits of u2 on the day before"
    assert row["xx"] == [49.0, 42.0, 0.0, 0.0, 42.0, 36.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    assert row["xy"] == [7.0 * 0.6, 6.0 * 0.6, 0.0, 0.0]


def test_an_event_level_quantile_counts_users_with_an_event_and_has_no_sums(db: duckdb.DuckDBPyConnection) -> None:
    events = hm.metric("load", "quantile", level="event", source="spend", window={"end_hours": 24})
    found = sums_of(db, events).sums
    control = found["control", "all", DAY1]
    assert (control["n"], control["n_null"], control["n_mature"]) == (1, 1, 2)
    assert (control["y"], control["x"], control["did_vv"]) == (0.0, [0.0], [0.0] * 4)
    assert found["control", "os=x", DAY1]["n"] == 1


def test_a_mean_that_is_not_that_of_the_raw_files_is_a_difference(db: duckdb.DuckDBPyConnection) -> None:
    again = sums_of(db, spend())
    row = {
        "metric_name": "spend", "variant_id": "treatment", "segment": "all", "method": "ab", "control_n": 2,
        "treatment_n": 1, "control_mean": 0.3, "treatment_mean": 1e16 + 2, "effect_abs": 1e16,
    }  # fmt: skip
    for changed, differ in (({}, 0), ({"control_mean": 0.3000001}, 1), ({"treatment_n": 2}, 1)):
        cells = {"treatment": Cell("spend", "treatment")}
        compare_effects(spend(), "control", cells, [row | changed], again)
        assert (cells["treatment"].compared, cells["treatment"].differ) == (5, differ)


@pytest.mark.parametrize(
    ("published", "again", "exact", "equal"),
    [(1.0, 1.0, True, True), (1.0, 1.0 + 4e-16, True, False),
     (1.0, 1.0 + 4e-16, False, True), (1.0, 1.0 + 2e-12, False, False), (None, None, True, True),
     (None, 0.0, False, False)],
)  # fmt: skip
def test_equal_means_to_the_last_bit_or_to_a_relative_1e_12(
    published: Any, again: Any, exact: bool, equal: bool
) -> None:
    assert same(published, again, exact=exact) == equal


def test_the_metrics_that_decide_are_always_checked_and_the_others_take_turns() -> None:
    metrics = [hm.metric(f"m{i}", "sum") for i in range(20)]
    nights = [[m.name for m in chosen_metrics(metrics, ["m7"], 8, 2, f"2026-01-{day:02}")] for day in range(1, 31)]
    assert all(len(night) == 4 and night[0] == "m7" for night in nights)
    assert {name for night in nights for name in night} == {metric.name for metric in metrics}


def test_bits_beyond_the_reach_of_the_pipelines_sums_are_no_difference(db: duckdb.DuckDBPyConnection) -> None:
    put(db, "outcomes", outcome("u9", 1e-7, 2), outcome("u9", 1e6, 3))
    again = sums_of(db, spend())
    assert again.largest == 1e16 + 2
    row = again.sums["control", "all", DAY1]
    known = Recomputed({("control", "all", DAY1): row}, again.inexact, 1e6)
    assert compared(known, published(row, y=0.6 + 2e-13), in_bucket(row)).differ == 0
    assert compared(known, published(row, y=0.6001), in_bucket(row)).differ == 1
