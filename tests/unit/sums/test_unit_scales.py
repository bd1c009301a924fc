"""Caps and scales from batches of unit rows: those of all values at once, however the rows are cut into parts."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from tests.oracle.spine_data import METRICS, metric
from tests.unit.sums.unit_batches import CHOSEN, batches, unit_rows

from exp_platform.sums.numbers import all_numbers, entries
from exp_platform.sums.scales import exponent_of
from exp_platform.sums.unit_scales import ENDS_SCHEMA, caps_not_applied, pooled_scales, unit_ends


@pytest.mark.parametrize("seed", range(4))
def test_a_pooled_cap_is_the_percentile_of_all_values_in_any_parts(seed: int) -> None:
    rows = unit_rows(Random(seed), 211)
    shuffled = Random(seed + 9).sample(rows, len(rows))
    parts = [batches(shuffled[:40], 7), batches(shuffled[40:41], 1), batches(shuffled[41:], 60)]
    found = pa.Table.from_batches([b for part in parts for b in unit_ends(part, CHOSEN, len(rows))], ENDS_SCHEMA)
    scales = pooled_scales(found, CHOSEN, len(rows))
    for number in all_numbers(CHOSEN):
        values = [row[number.column] for row in rows if row[number.column] is not None]
        cap = number.metric.cap
        if cap is not None and cap.quantile is not None:
            want = float(np.quantile(values, cap.quantile))
            assert scales.cap(number.column) == pytest.approx(want, rel=1e-15), number.column
        held = values if cap is None else [min(value, scales.cap(number.column)) for value in values]
        assert scales.exponent(number.column) == exponent_of(max(abs(value) for value in held))


def test_no_unit_at_all_has_no_cap_and_no_warning() -> None:
    scales = pooled_scales(ENDS_SCHEMA.empty_table(), METRICS, 0)
    assert scales.units == 0 and all(scales.cap(n.column) in (None, 3.5, 4.0) for n in all_numbers(METRICS))
    assert caps_not_applied(scales, METRICS) == []


def test_a_cap_of_zero_is_left_off_and_said() -> None:
    low = (metric("sum_a", "sum", cap={"quantile": 0.5}),)
    rows = [{**row, "y0": 0.0, "x0": 1.0, "p0": 1.0} for row in unit_rows(Random(1), 9)]
    found = pa.Table.from_batches(list(unit_ends(batches(rows, 4, low), low, len(rows))), ENDS_SCHEMA)
    scales = pooled_scales(found, low, len(rows))
    assert scales.cap("y0") is None and scales.cap("x0") == 1.0
    assert [line for line in caps_not_applied(scales, low) if "sum_a" in line and "was not applied" in line]


def listed(maps: pa.MapArray) -> dict[str, list[float | None]]:
    return {key: [None if np.isnan(v) else v for v in column.tolist()] for key, column in entries(maps).items()}


def test_maps_are_read_whatever_the_order_of_their_keys() -> None:
    kind = pa.map_(pa.string(), pa.float64())
    regular = pa.array([[("a", 1.0), ("b", None)], [("a", 2.0), ("b", 3.0)]], kind)
    assert listed(regular) == {"a": [1.0, 2.0], "b": [None, 3.0]}
    assert listed(regular.slice(1)) == {"a": [2.0], "b": [3.0]}
    mixed = pa.array([[("a", 1.0), ("b", 5.0)], [("b", 3.0), ("a", 2.0)], [("a", 4.0)], None], kind)
    assert listed(mixed) == {"a": [1.0, 2.0, 4.0, None], "b": [5.0, 3.0, None, None]}
    assert entries(pa.array([[], None], kind)) == {}
    flat = regular.keys, regular.items
    under_null = pa.MapArray.from_arrays(regular.offsets, *flat, mask=pa.array([False, True]))
    assert listed(under_null) == {"a": [1.0, None], "b": [None, None]}


@pytest.mark.parametrize("second", [("ab", "d"), ("a", "bc"), ("abc", "")], ids=lambda keys: "+".join(keys))
def test_keys_of_equal_lengths_or_equal_letters_are_not_taken_for_the_same(second: tuple[str, str]) -> None:
    maps = pa.array(
        [[("ab", 1.0), ("c", 2.0)], [(second[0], 3.0), (second[1], 4.0)]], pa.map_(pa.string(), pa.float64())
    )
    want: dict[str, list[float | None]] = {"ab": [1.0, None], "c": [2.0, None]}
    for key, value in zip(second, (3.0, 4.0), strict=True):
        want.setdefault(key, [None, None])[1] = value
    assert listed(maps) == want


def test_a_flag_that_is_null_or_not_there_is_false() -> None:
    kind = pa.map_(pa.string(), pa.bool_())
    assert entries(pa.array([[("a", True)], [("a", None)]], kind))["a"].tolist() == [True, False]
    assert entries(pa.array([[("a", True)], [("b", True)]], kind))["a"].tolist() == [True, False]
