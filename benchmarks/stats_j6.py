"""J6, J7 and J8 from the statistics table in memory: 100 metrics × 3 variants × 30 days × 10 segments.

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

from exp_platform.config.models import Experiment, Guardrail, Metric, Variant, Window
from exp_platform.decision.evidence import evidence, moment
from exp_platform.decision.rules import decide
from exp_platform.decision.trust import trust_of
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.analysis import Analysis, analyze
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cube import RESTS, cubes, read_axes
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.frame import to_table
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.validation import validate

START = datetime(2026, 1, 1, tzinfo=UTC)
STATISTICS, PANEL, RESULTS = (
    "gold.fct_experiment_metric_statistics",
    "gold.fct_experiment_panel_statistics",
    "exp.analysis_results",
)
LISTS = ("x", "xx", "xy", "dx", "did_v", "did_vv")
ROUNDS = 4
ARMS = ("control", "a", "b")[:VARIANTS]
RUN: dict[str, Any] = {
    "experiment_id": "exp_bench",
    "dt": (START + timedelta(days=DAYS - 1)).date(),
    "run_id": "r",
    "input_snapshots": "{}",
    "config_hash": "c",
    "code_version": "v",
    "computed_at": START + timedelta(days=DAYS),
}
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
        guardrails=tuple(Guardrail(metric=metric.name, max_relative_harm=0.05) for metric in metrics[1:6]),
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
        "rest": pa.array([[0.0] * (len(RESTS) + sum(getattr(s, name)[0, 0, 0, 0].size for name in LISTS))] * rows),
    }
    for name, values in vars(s).items():
        flat = values.reshape(rows, -1)
        columns[name] = flat[:, 0] if values.ndim == len(s.lead) else pa.array(flat.tolist())
    schema = arrow_schema(TABLES[STATISTICS])
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], names=schema.names)


def judged(answer: Analysis, table: pa.Table, panel: pa.Table, what: AnalysisPlan) -> tuple[int, float, float]:
    """Rows of J7, and processor seconds of J7 and of J8."""
    results = to_table(RESULTS, answer.results, RUN)
    start = time.process_time()
    deciding = deciding_rows(results)
    axes = read_axes(table, what.arms)
    checks = validate(CheckInputs(what, table, cubes(table, what.metrics, axes), axes, [], deciding))
    after_checks = time.process_time()
    deciding = deciding_rows(results)
    guardrails = guardrail_rows(deciding, what)
    trust = trust_of([], checks, "itt", what.deciding_metrics)
    decide(evidence(deciding, guardrails, [], what), trust, moment(what))
    return len(checks), after_checks - start, time.process_time() - after_checks


def main() -> None:
    """Print processor seconds of one J6, J7 and J8, and their rows."""
    what = plan()
    table = statistics_table([metric.name for metric in what.metrics])
    panel = arrow_schema(TABLES[PANEL]).empty_table()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        answer = analyze(table, panel, what)
        to_table(RESULTS, answer.results, RUN)
        analysis = time.process_time() - start
        checks, *others = judged(answer, table, panel, what)
        times.append((analysis, *others))
    j6, j7, j8 = np.median(times, axis=0)
    rows = len(answer.results["status"])
    print(f"J6 from {table.num_rows:,} statistics rows to {rows:,} result rows: {j6:.2f} s of one core")
    print(f"J7, {checks:,} checks: {j7:.2f} s; J8, {len(what.experiment.guardrails)} guardrails: {j8:.2f} s")
    print(f"J6 to J8: {j6 + j7 + j8:.2f} s; goal: under 2 s")


if __name__ == "__main__":
    main()
