"""Unit rows of a few metrics, and the batches that J4's files give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from random import Random
from typing import Any

import pyarrow as pa
from tests.oracle.spine_data import METRICS

from exp_platform.config.models import Metric
from exp_platform.sums.numbers import MAPS, stored_numbers

CHOSEN = tuple(next(m for m in METRICS if m.name == name) for name in ("sum_a", "back", "per_b", "median_a"))
DIMENSIONS = pa.map_(pa.string(), pa.string())
SEGMENTS = (
    [], [("country", "de")], [("country", "fr"), ("platform", "web")], [("country", "fr"), ("platform", "ios")],
)  # fmt: skip


def unit_rows(random: Random, units: int) -> list[dict[str, Any]]:
    def number() -> float | None:
        return None if random.random() < 0.2 else random.random() * 8 - 2

    rows = []
    for _ in range(units):
        row: dict[str, Any] = {
            "variant_id": random.choice(("control", "treatment")),
            "cohort_date": date(2026, 1, random.randrange(5, 8)),
            "unit_bucket": random.randrange(4),
            "dimensions": random.choice(SEGMENTS),
        }
        for i, metric in enumerate(CHOSEN):
            row[f"mature{i}"] = random.random() < 0.7
            for letter in "yxp":
                row[f"{letter}{i}"] = number()
                if metric.type == "ratio":
                    row[f"{letter}{i}_1"] = None if row[f"{letter}{i}"] is None else random.random()
        rows.append(row)
    return rows


def batches(rows: list[dict[str, Any]], size: int, metrics: Sequence[Metric] = CHOSEN) -> list[pa.RecordBatch]:
    """As J4 writes them: numbers in maps."""
    columns = {name: pa.array([row[name] for row in rows]) for name in ("variant_id", "cohort_date")}
    columns["dimensions"] = pa.array([row["dimensions"] for row in rows], DIMENSIONS)
    columns["unit_bucket"] = pa.array([row["unit_bucket"] for row in rows], pa.int32())
    for source in MAPS:
        mine = [n for n in stored_numbers(metrics) if n.source == source]
        maps = [[(n.key, row[n.column]) for n in mine] for row in rows]
        columns[source] = pa.array(maps, pa.map_(pa.string(), pa.float64()))
    mature = [[(metric.name, row[f"mature{i}"]) for i, metric in enumerate(metrics)] for row in rows]
    columns["mature"] = pa.array(mature, pa.map_(pa.string(), pa.bool_()))
    columns["event_counts"] = pa.array([[]] * len(rows), pa.map_(pa.string(), pa.int64()))
    return pa.table(columns).to_batches(size)
