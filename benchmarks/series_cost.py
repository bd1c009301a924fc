"""The cost of the series of running values beside the rest of J4 and J5: ratios of processor time within one run.

python -m benchmarks.series_cost --users 100000
python -m benchmarks.series_cost --users 1000000 --once
python -m benchmarks.series_cost --users 100000 --without-lake

`--once` leaves the second count of everything out, which at a million users differs little from the first.
Without the lake nothing is ingested, audited or published, and no bucket spares a shuffle: the series is compared with
the passes of J4 and J5 alone, which are less than half of what these stages cost.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.spine_bench import (
    DAY_29,
    DAY_30,
    EXPERIMENT,
    ROOT,
    SPINE,
    _cpu,
    _total,
    make_project,
    pipeline,
    write_raw,
)
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyspark.sql import functions as F

from exp_platform.lake.batches import FileBatches
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import UNIT_OUTCOMES
from exp_platform.lake.types import arrow_schema
from exp_platform.pipelines.dates import cutoff
from exp_platform.spark.session import build_spark_session
from exp_platform.sums.numbers import UNIT_COLUMNS
from exp_platform.sums.series_plan import UNIT_COLUMNS as SERIES_COLUMNS
from exp_platform.sums.series_units import FileUnits
from exp_platform.transforms import metric_tables
from exp_platform.transforms.cohort import without_dimensions
from exp_platform.transforms.unit_outcomes import unit_outcomes


def measure(folder: Path, users: int, once: bool = False) -> dict[str, Any]:
    """Processor seconds of the series and of all of J4 and J5: runs over everything, and a day more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder)
    write_raw(folder / "raw", users)
    spark = build_spark_session("series", project)
    spent: list[float] = []
    metric_tables.metric_series = _timed(metric_tables.metric_series, spark, spent)
    runs = {"first": pipeline(project, DAY_29, "r1", spark)}
    if not once:
        runs["everything, warm"] = pipeline(project, DAY_29, "r2", spark, full_refresh=True)
    runs["one more day"] = pipeline(project, DAY_30, "r3", spark)
    spark.stop()
    found: dict[str, Any] = {"users": users}
    for (name, run), series in zip(runs.items(), spent, strict=True):
        spine = _total(run, SPINE).cpu
        found[name] = {
            "series": round(series, 2),
            "J4 and J5": spine,
            "series over the rest": round(series / (spine - series), 3),
        }
    return found


def without_lake(folder: Path, users: int) -> dict[str, Any]:
    """Processor seconds of J4's query, J5's tables and the series among them, twice in one session."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder)
    write_raw(folder / "raw", users)
    spark = build_spark_session("series", project)
    experiment = project.experiment(EXPERIMENT)
    metrics, raw = project.metrics_of(experiment), folder / "raw" / "exp_platform" / EXPERIMENT
    seen = cutoff(DAY_29)
    cohort = without_dimensions(
        spark.read.parquet(str(raw / "assignments")).where(F.col("assignment_ts") < F.lit(seen)).selectExpr(
            "experiment_id", "user_id", "variant as variant_id", "assignment_ts as assignment_time_utc",
            "assignment_ts as anchor_utc", "cast(assignment_ts as date) as cohort_date", "true as included",
        )
    )  # fmt: skip
    outcomes = spark.read.parquet(str(raw / "outcomes"))
    spent: list[float] = []
    found: dict[str, Any] = {"users": users}
    metric_tables.metric_series = _timed(metric_tables.metric_series, spark, spent)
    io = PyArrowFileIO()
    for name in ("cold", "warm"):
        began, files = _cpu(spark), folder / f"units {name}"
        frame = unit_outcomes(cohort, outcomes, metrics, end_ts=experiment.end_ts, cutoff=seen)
        frame.write.parquet(str(files))
        spine = _cpu(spark) - began
        paths = tuple(sorted(str(path) for path in files.glob("*.parquet")))
        count = sum(pq.ParquetFile(path).metadata.num_rows for path in paths)

        def batches(columns: Sequence[str], paths: tuple[str, ...] = paths, count: int = count) -> FileBatches:
            return FileBatches(spark, tuple((path,) for path in paths), io, _schema(columns), count)

        known = FileUnits(io, _schema(SERIES_COLUMNS), {0: paths}, 1)
        inputs = metric_tables.SumInputs(
            EXPERIMENT, batches(UNIT_COLUMNS), cohort, outcomes, metrics, [v.id for v in experiment.live_variants],
            experiment.end_ts, seen,
            series=metric_tables.SeriesInputs(batches(SERIES_COLUMNS), lambda known=known: known, experiment.start_ts),
        )  # fmt: skip
        metric_tables.metric_tables(inputs)
        everything, series = _cpu(spark) - began, spent[-1]
        found[name] = {
            "J4": round(spine, 2),
            "J5 without the series": round(everything - spine - series, 2),
            "series": round(series, 2),
            "series over the rest": round(series / (everything - series), 3),
        }
        print(json.dumps({name: found[name]}), flush=True)
    spark.stop()
    return found


def _schema(columns: Sequence[str]) -> pa.Schema:
    declared = arrow_schema(TABLES[UNIT_OUTCOMES])
    return pa.schema([declared.field(name) for name in columns])


def _timed(made: Callable[..., Any], spark: Any, spent: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        before = _cpu(spark)
        found = made(*arguments)
        spent.append(_cpu(spark) - before)
        print(f"{found[1]}: {found[0].num_rows:,} rows, {spent[-1]:.1f} s of processor time", flush=True)
        return found

    return timed


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "bench_series")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--without-lake", action="store_true")
    arguments = parser.parse_args()
    if arguments.without_lake:
        found = without_lake(arguments.folder, arguments.users)
    else:
        found = measure(arguments.folder, arguments.users, arguments.once)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
