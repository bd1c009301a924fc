"""Effects that other experiments have found on a metric."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from pyiceberg.expressions import And, EqualTo, In, LessThan, NotEqualTo
from pyiceberg.table import Table as IcebergTable


def past_effects(handle: IcebergTable, experiment_id: str, dt: date, metrics: Sequence[str]) -> dict[str, list[float]]:
    """Metric -> the last relative effect before dt of every arm of every other experiment, in a fixed order.

    `handle` is exp.analysis_results; only deciding rows with an answer count.
    """
    earlier = And(
        And(NotEqualTo("experiment_id", experiment_id), LessThan("dt", dt.isoformat())),
        And(EqualTo("is_deciding", True), EqualTo("status", "ok")),
        In("metric_name", tuple(metrics)),
    )
    columns = ("experiment_id", "dt", "metric_name", "variant_id", "effect_rel")
    rows = handle.scan(row_filter=earlier, selected_fields=columns).to_arrow().to_pylist()
    last: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: (r["metric_name"], r["experiment_id"], r["variant_id"], r["dt"])):
        if row["effect_rel"] is not None:
            last[row["metric_name"], row["experiment_id"], row["variant_id"]] = row
    history: dict[str, list[float]] = {}
    for (metric, *_), row in last.items():
        history.setdefault(metric, []).append(row["effect_rel"])
    return history
