"""How long the points of all series take: 100 metrics × 60 days × 3 arms on one core.

python -m benchmarks.series_speed
"""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from tests.hand_made import metric, plan

from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import METRIC_SERIES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.series import effect_series

METRICS, DAYS, ARMS, NEW = 100, 60, ("control", "one", "two"), 400.0
FIRST = date(2026, 1, 1)


def series_table(kinds: list[str]) -> pa.Table:
    """Rows of normal values with a covariate, of shares and of ratios; every day brings units to every arm."""
    random = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for i, kind in enumerate(kinds):
        k = 2 if kind == "ratio" else 1
        for arm in ARMS:
            for day in range(DAYS):
                n = int(NEW)
                y = float(random.poisson(n * 0.3)) if kind == "binary" else float(random.normal(10 * n, np.sqrt(n)))
                yy = y if kind == "binary" else 102.0 * n
                x, d = ([y] * k, 2.0 * n if k == 2 else 0.0)
                rows.append(
                    {
                        "experiment_id": "e", "metric_name": f"m{i}", "metric_version": 1, "variant_id": arm,
                        "as_of": FIRST + timedelta(days=day), "n": n, "n_null": 0, "n_mature": 0, "n_x": n,
                        "with_denominator": n if k == 2 else None, "y": y, "yy": yy, "yyy": 1050.0 * n,
                        "covariates": ["pre"] if k == 1 else ["pre_numerator", "pre_denominator"], "x": x,
                        "xx": [102.0 * n if a == b else 100.0 * n for a in range(k) for b in range(k)],
                        "xy": [101.0 * n] * k, "without_x": [0.0] if k == 1 else [], "d": d, "dd": 5.0 * n * (k - 1),
                        "yd": 20.0 * n * (k - 1), "dx": [20.0 * n * (k - 1)] * k,
                        "rest": [0.0] * 2 * (6 + 3 * k + k * k + (k == 1)), "differs": [],
                    }
                )  # fmt: skip
    return pa.Table.from_pylist(rows, arrow_schema(TABLES[METRIC_SERIES]))


def main() -> None:
    """Print the seconds and the number of points."""
    kinds = [("sum", "binary", "ratio", "count")[i % 4] for i in range(METRICS)]
    metrics = [metric(f"m{i}", kind) for i, kind in enumerate(kinds)]
    table, wanted = series_table(kinds), plan(metrics, days=DAYS, arms=ARMS)
    effect_series(table, wanted)  # imports and caches
    began, cpu = time.monotonic(), time.process_time()
    found = effect_series(table, wanted)
    points = sum(len(series.points) for series in found)
    took, used = time.monotonic() - began, time.process_time() - cpu
    print(f"{len(found)} series, {points:,} points: {used:.2f} s of processor time, {took:.2f} s on the clock")


if __name__ == "__main__":
    main()
