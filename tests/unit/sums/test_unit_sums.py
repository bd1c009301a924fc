"""Counts and sums of unit rows by group: those of a loop over rows, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from fractions import Fraction
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.sums.unit_batches import CHOSEN, batches, unit_rows

from exp_platform.metrics.families import COLUMN_OF, families
from exp_platform.stats.quantile import bin_of
from exp_platform.sums import unit_bins
from exp_platform.sums import unit_sums as unit_sums_module
from exp_platform.sums.group_sums import GROUP, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.scales import Scale, Scales, power_of_two
from exp_platform.sums.unit_sums import SUMS_SCHEMA, by_column, unit_sums

PLAIN, RATIO = families(CHOSEN)


def scales_of(rows: list[dict[str, Any]], cap: float | None) -> Scales:
    names = [name for name in rows[0] if name[0] in "yxp" and name[1].isdigit()]
    return Scales(len(rows), {name: Scale(cap if name == "y0" else None, 3) for name in names})


def groups_of(row: dict[str, Any]) -> list[tuple[str, str, date | None, int]]:
    arm, day = row["variant_id"], row["cohort_date"]
    segments = [(arm, f"{key}={value}", day, -1) for key, value in row["dimensions"]]
    return [(arm, "all", day, -1), (arm, "all", None, row["unit_bucket"]), *segments]


def expected(rows: list[dict[str, Any]], i: int, cap: float | None, product: str) -> dict[tuple, Fraction]:
    """The exact sum of the products of one metric's letters, by group."""
    found: dict[tuple, Fraction] = {}
    complete = CHOSEN[i].maturity_in_force == "complete"
    for row in rows:
        has = row[f"y{i}"] is not None and (row[f"mature{i}"] or not complete)
        in_did = has and row[f"mature{i}"] and row[f"p{i}"] is not None
        numbers = {"g": float(in_did), "z": float(not (has and row[f"x{i}"] is not None))}
        for letter, column in COLUMN_OF.items():
            value = row.get(column.format(i))
            counts = value is not None and (in_did if letter in "pq" else has)
            held = min(value, cap) if counts and cap is not None and (letter, i) == ("y", 0) else value
            numbers[letter] = held / 8.0 if counts else 0.0
        total = numbers[product[0]]
        for letter in product[1:]:
            total *= numbers[letter]
        for group in groups_of(row):
            found[group] = found.get(group, Fraction(0)) + Fraction(total)
    return found


def as_they_come(row: dict[str, Any]) -> dict[str, Any]:
    return row


def whole_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """All that there is of a number is in its first limb, but for those of a ratio's numerator."""
    return {k: float(int(v)) if isinstance(v, float) and k not in ("y2", "x2", "p2") else v for k, v in row.items()}


def all_there(row: dict[str, Any]) -> dict[str, Any]:
    """Every window is closed and nothing null: all units are in difference-in-differences."""
    filled = {k: 1.0 / 3.0 if v is None else v for k, v in row.items()}
    return filled | {f"mature{i}": True for i in range(len(CHOSEN))}


@pytest.mark.parametrize("together", [1, 40, unit_sums_module.ENOUGH], ids="batches of {} rows or more".format)
@pytest.mark.parametrize("kind", [as_they_come, whole_numbers, all_there], ids=lambda kind: kind.__name__)
def test_every_sum_of_products_is_the_exact_one_in_any_batches(
    kind: Callable[[dict[str, Any]], dict[str, Any]], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_sums_module, "ENOUGH", together)
    rows = [kind(row) for row in unit_rows(Random(5), 300)]
    for cap in (None, 3.5):
        scales = scales_of(rows, cap)
        shuffled = Random(6).sample(rows, len(rows))
        once = pa.Table.from_batches(list(unit_sums(batches(rows, 300), CHOSEN, scales)), SUMS_SCHEMA)
        again = pa.Table.from_batches(
            [b for part in (shuffled[:90], shuffled[90:]) for b in unit_sums(batches(part, 7), CHOSEN, scales)]
        )
        for family in (PLAIN, RATIO):
            sums = roll_up(by_column(once, family), GROUP)
            keys = [(name, "ascending") for name in GROUP]
            assert sums.sort_by(keys) == roll_up(by_column(again, family), GROUP).sort_by(keys), "the same bytes"
            for i, _ in family.members:
                mine = [row for row in sums.to_pylist() if row["metric"] == i]
                for name, product in family.products.items():
                    want = expected(rows, i, cap, product)
                    limbs = [f"{name}_{k}" for k in range(scales.limbs.count) if f"{name}_{k}" in sums.column_names]
                    got = {tuple(row[g] for g in GROUP[1:]): sum(Fraction(row[limb]) for limb in limbs) for row in mine}
                    assert got.keys() == want.keys()
                    worst = max(abs(got[key] - want[key]) for key in want)
                    assert worst < Fraction(power_of_two(-60)), (family.name, name)


def test_counts_tell_units_with_a_value_a_covariate_and_a_closed_window() -> None:
    row = {
        "variant_id": "control", "cohort_date": date(2026, 1, 5), "unit_bucket": 0, "dimensions": [],
        "y0": 1.0, "x0": 1.0, "p0": 1.0, "mature0": True, "y1": None, "x1": None, "p1": None, "mature1": True,
        "y2": None, "x2": 1.0, "p2": 1.0, "y2_1": None, "x2_1": 1.0, "p2_1": 1.0, "mature2": False,
        "y3": None, "x3": None, "p3": None, "mature3": True,
    }  # fmt: skip
    rows = [
        row,
        {**row, "x0": None},
        {**row, "mature0": False},
        {**row, "y0": None},
    ]
    scales = scales_of(rows, None)
    sums = pa.Table.from_batches(list(unit_sums(batches(rows, 4), CHOSEN, scales)))
    counted = next(r for r in sums.to_pylist() if r["metric"] == 0 and r["unit_bucket"] == -1)
    assert {k: counted[k] for k in ("n", "n_null", "n_mature", "n_x", "did_n")} == {
        "n": 3, "n_null": 1, "n_mature": 3, "n_x": 2, "did_n": 2,
    }  # fmt: skip


@pytest.mark.parametrize("few", [0, 150, unit_bins.FEW], ids="counted when over {}".format)
def test_histograms_count_capped_values_of_each_group_in_any_batches(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_bins, "FEW", few)
    monkeypatch.setattr(unit_sums_module, "ENOUGH", 20)
    rows = unit_rows(Random(3), 200)
    median = next(i for i, m in enumerate(CHOSEN) if m.name == "median_a")
    scales = scales_of(rows, None)
    scales.by_column[f"y{median}"] = Scale(4.0, 3)
    parts = (rows[:70], rows[70:])
    sums = pa.Table.from_batches([b for part in parts for b in unit_sums(batches(part, 9), CHOSEN, scales)])
    columns = Histograms.of_sums(sums).columns(keys := list({(median, *g) for row in rows for g in groups_of(row)}))
    want: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in rows:
        if (value := row[f"y{median}"]) is not None:
            for group in groups_of(row):
                held = min(value, 4.0)
                want.setdefault((median, *group), {}).setdefault(int(bin_of(held)), []).append(held)
    for i, key in enumerate(keys):
        bins = sorted(want.get(key, {}).items())
        histogram, lows, highs = (columns[name][i].as_py() for name in columns)
        assert histogram == ([(b, len(values)) for b, values in bins] or None)
        assert (lows, highs) == (([min(v) for _, v in bins], [max(v) for _, v in bins]) if bins else (None, None))


def test_a_batch_without_rows_adds_nothing() -> None:
    rows = unit_rows(Random(1), 5)
    scales = scales_of(rows, None)
    empty = [batch.slice(0, 0) for batch in batches(rows, 5)]
    assert list(unit_sums(empty, CHOSEN, scales)) == []
    assert list(unit_sums([*empty, *batches(rows, 5)], CHOSEN, scales)) == list(
        unit_sums(batches(rows, 5), CHOSEN, scales)
    )
