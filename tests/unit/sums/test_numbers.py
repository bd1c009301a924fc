"""A unit row's numbers as columns and as maps: each way is the opposite of the other."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.oracle.spine_data import METRICS

from exp_platform.config.models import Metric
from exp_platform.metrics.values import unit_values
from exp_platform.sums.numbers import UNIT_KEYS, all_numbers, in_columns, in_maps

ROWS = 7
MOMENT = datetime(2026, 1, 5, tzinfo=UTC)


def flat(metrics: tuple[Metric, ...]) -> pa.RecordBatch:
    """As J4's query gives it: every number differs from every other, some are null."""
    columns: dict[str, Any] = {
        "experiment_id": ["exp_one"] * ROWS,
        "user_id": [f"u{i}" for i in range(ROWS)],
        "variant_id": ["control"] * ROWS,
        "anchor_utc": [MOMENT] * ROWS,
        "cohort_date": [date(2026, 1, 5)] * ROWS,
        "unit_bucket": pa.array(range(ROWS), pa.int32()),
    }
    for j, number in enumerate(all_numbers(metrics)):
        values = [None if (i + j) % 4 == 0 else 100.0 * j + i for i in range(ROWS)]
        columns[number.column] = pa.array(values, pa.float64())
    for i, metric in enumerate(metrics):
        columns[f"mature{i}"] = [(i + k) % 3 == 0 for k in range(ROWS)]
        if metric.of_events:
            columns[f"y{i}"] = pa.array([None, *range(1, ROWS)], pa.int64())
    columns["dimensions"] = pa.array([[("os", "x")]] * ROWS, pa.map_(pa.string(), pa.string()))
    return pa.RecordBatch.from_pydict(columns)


@pytest.mark.parametrize("first", [0, 3], ids=["whole", "a part of a batch"])
def test_maps_hold_each_number_under_its_key_and_give_the_columns_back(first: int) -> None:
    batch = flat(METRICS).slice(first)
    maps = in_maps(batch, METRICS)
    rows = maps.to_pylist(maps_as_pydicts="strict")
    for i, row in enumerate(rows):
        for number in all_numbers(METRICS):
            assert row[number.source][number.key] == batch.column(number.column)[i].as_py()
        assert list(row["metrics"]) == [value.key for metric in METRICS for value in unit_values(metric)]
        assert list(row["mature"]) == [metric.name for metric in METRICS]
        assert row["event_counts"] == {
            m.name: batch.column(f"y{j}")[i].as_py() for j, m in enumerate(METRICS) if m.of_events
        }
        assert row["user_id"] == f"u{first + i}" and row["dimensions"] == {"os": "x"}
    back = in_columns(maps, METRICS)
    for name, column in back.items():
        want = batch.column(name).to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(column, want.astype(column.dtype), name)
    assert back.keys() == set(batch.schema.names) - set(UNIT_KEYS)


def test_without_a_metric_of_a_kind_its_map_is_empty_and_not_null() -> None:
    maps = in_maps(flat(METRICS[:1]), METRICS[:1])
    assert maps.column("event_counts").to_pylist() == [[]] * ROWS
    none = in_maps(flat(()), ())
    assert none.column("metrics").to_pylist() == none.column("mature").to_pylist() == [[]] * ROWS
    assert set(none.schema.names) >= set(UNIT_KEYS)


def test_a_batch_without_rows_stays_one() -> None:
    assert len(in_maps(flat(METRICS).slice(0, 0), METRICS)) == 0
