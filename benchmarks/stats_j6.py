"""J6 whole, from its statistics table in memory to its answer table: 100 metrics × 3 variants × 30 days × 10 segments.

    python -m benchmarks.stats_j6

What lies before (reading Iceberg) and after (publishing) belongs to the stage and is not timed here.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.stats_speed import DAYS, METRICS, SEGMENTS, VARIANTS, statistics

from exp_platform.config.models import Experiment, Metric, Variant, Window
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.analysis import analyze
from exp_platform.results.frame import to_table
from exp_platform.results.plan import AnalysisPlan

START = datetime(2026, 1, 1, tzinfo=UTC)
STATISTICS, PANEL, RESULTS = (
    "gold.fct_experiment_metric_statistics",
    "gold.fct_experiment_panel_statistics",
    "exp.analysis_results",
)
ARMS = ("control", "a", "b")[:VARIANTS]
SEGMENT_NAMES = ("all", *(f"country=c{i}" for i in range(SEGMENTS - 1)))


def plan() -> AnalysisPlan:
    """An experiment of three arms with a hundred mean metrics, as of its last day."""
    keys: dict[str, Any] = {"version": 1, "owner": "bench", "direction": "increase", "pre_period_days": 14}
    metrics = tuple(
        Metric(name=f"m{i:03d}", description="bench", type="mean", window=Window(end_hours=168), **keys)
        for i in range(METRICS)
    )
    experiment = Experiment(
        experiment_id="exp_bench",
        name="bench",
        owner="bench",
        hypothesis="fast",
        start_ts=START,
        end_ts=START + timedelta(days=DAYS),
        variants=tuple(Variant(id=arm, allocation=1 / VARIANTS, is_control=arm == "control") for arm in ARMS),
        analysis_mode="itt",
        metrics=tuple(metric.name for metric in metrics),
        primary_metric=metrics[0].name,
        dimensions=("country",),
    )
    cutoff = START + timedelta(days=DAYS)
    return AnalysisPlan(experiment, metrics, cutoff.date() - timedelta(days=1), cutoff)


def statistics_table(names: list[str]) -> pa.Table:
    """The grouping set by segment and cohort date: one row for each variant × metric × day × segment."""
    s = statistics()
    variant, metric, day, segment = (axis.ravel() for axis in np.indices(s.lead))
    rows = len(variant)
    days = [START.date() + timedelta(days=i) for i in range(DAYS)]
    columns: dict[str, Any] = {
        "experiment_id": pa.array(["exp_bench"] * rows),
        "metric_name": pa.array(np.array(names, dtype=object)[metric]),
        "metric_version": np.ones(rows, dtype=np.int32),
        "variant_id": pa.array(np.array(ARMS, dtype=object)[variant]),
        "segment": pa.array(np.array(SEGMENT_NAMES, dtype=object)[segment]),
        "cohort_date": pa.array([days[i] for i in day]),
        "unit_bucket": np.full(rows, -1, dtype=np.int32),
        "covariates": pa.array([["pre"]] * rows),
        "with_denominator": pa.nulls(rows),
        "histogram": pa.nulls(rows),
        "histogram_lows": pa.nulls(rows),
        "histogram_highs": pa.nulls(rows),
        "cap": pa.nulls(rows),
        "cap_denominator": pa.nulls(rows),
        "n_mature": s.n.ravel(),
    }
    for name, values in vars(s).items():
        flat = values.reshape(rows, -1)
        columns[name] = flat[:, 0] if values.ndim == len(s.lead) else pa.array(flat.tolist())
    schema = arrow_schema(TABLES[STATISTICS])
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], names=schema.names)


def main() -> None:
    """Print processor seconds of one J6 and its rows."""
    what = plan()
    table = statistics_table([metric.name for metric in what.metrics])
    panel = arrow_schema(TABLES[PANEL]).empty_table()
    run_columns = {"experiment_id": "exp_bench", "dt": what.dt, "run_id": "r", "input_snapshots": "{}"}
    run_columns |= {"config_hash": "c", "code_version": "v", "computed_at": what.cutoff}
    times = []
    for _ in range(4):
        start = time.process_time()
        answer = analyze(table, panel, what)
        to_table(RESULTS, answer.results, run_columns)
        times.append(time.process_time() - start)
    rows = len(answer.results["status"])
    print(f"J6 from {table.num_rows:,} statistics rows to {rows:,} result rows: {np.median(times):.2f} s of one core")


if __name__ == "__main__":
    main()
