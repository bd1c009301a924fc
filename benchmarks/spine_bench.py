"""The spine against DuckDB on the same raw files, in one run: ratios, growth, memory, and a day against everything.

python -m benchmarks.spine_bench --users 100000 1000000 --folder data/bench
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml
from benchmarks.spine_duckdb import same_work

from exp_platform.config.load import Project, load_project
from exp_platform.metrics.values import DAY_US, micros
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.job import Run
from exp_platform.pipelines.run_end_to_end import run_end_to_end

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = "exp_bench"
EVENTS_PER_USER = 20
DAY_30, DAY_31 = date(2026, 1, 30), date(2026, 1, 31)
SPINE = ("build_unit_outcomes", "aggregate_metrics")
TO_STATISTICS = ("ingest_events", "build_assignments", "validate_exposures", *SPINE)


def write_raw(folder: Path, users: int) -> None:
    """Assignments over 30 days, one exposure each, 20 outcome events around each assignment, a folder per day."""
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    db.execute(
        f"""create temp table a as select '{EXPERIMENT}' as experiment_id, format('user_{{:08d}}', i) as user_id,
        if(hash('v', i) % 2 = 0, 'control', 'treatment') as variant,
        make_timestamptz(epoch_us(timestamptz '2026-01-01') + (hash('t', i) % (30::bigint * {DAY_US}))::bigint)
            as assignment_ts, 'user' as unit from range({users}) r(i)"""
    )
    db.execute(
        f"""create temp view o as
        with e as (select experiment_id, user_id, assignment_ts, k, hash(user_id, k, 'm') % 20 as m,
                   (hash(user_id, k, 'v') % 1000003) / 1000003.0 as r, hash(user_id, k, 't') as h
                   from a, range({EVENTS_PER_USER}) s(k)),
        n as (select *, (h % (28::bigint * {DAY_US}))::bigint - 14 * {DAY_US} as later,
              case when m < 9 then 'sessions' when m < 16 then 'latency' when m < 18 then 'revenue'
              when m < 19 then 'conversion' else 'refunds' end as metric_name from e)
        select experiment_id, user_id, metric_name,
               if(metric_name in ('sessions', 'conversion'), 1.0, round(-30 * ln(1 - r * 0.9999), 2)) as value,
               make_timestamptz(epoch_us(assignment_ts) + later) as outcome_ts from n"""
    )
    exposures = "select experiment_id, user_id, variant, assignment_ts + interval 1 minute as exposure_ts, unit from a"
    for dataset, query, ts in (
        ("assignments", "select * from a", "assignment_ts"),
        ("exposures", exposures, "exposure_ts"),
        ("outcomes", "select * from o", "outcome_ts"),
    ):
        target = folder / "exp_platform" / EXPERIMENT / dataset
        target.mkdir(parents=True)
        query = f"select *, strftime({ts}, '%Y-%m-%d') as dt from ({query}) where {ts} < timestamptz '2026-02-01'"
        db.execute(f"copy ({query}) to '{target}' (format parquet, partition_by (dt))")


def make_project(folder: Path) -> Project:
    """The shipped metrics and one experiment over all of them, with a lake of its own."""
    shutil.copytree(ROOT / "configs" / "metrics", folder / "configs" / "metrics")
    metrics = sorted(path.stem for path in (folder / "configs" / "metrics").glob("*.yaml"))
    profile = yaml.safe_load((ROOT / "configs" / "dev.yaml").read_text())
    profile |= {"experiments": {}, "raw_root": str(folder / "raw"), "synthetic": False}
    profile.pop("experiment_defaults", None)
    experiment = {
        "experiment_id": EXPERIMENT, "name": "Benchmark", "owner": "bench", "hypothesis": "none",
        "start_ts": "2026-01-01", "end_ts": "2026-01-31", "analysis_mode": "itt", "primary_metric": "conversion",
        "metrics": metrics,
        "variants": [{"id": "control", "allocation": 0.5, "is_control": True}, {"id": "treatment", "allocation": 0.5}],
    }  # fmt: skip
    (folder / "configs" / "experiments").mkdir(parents=True)
    (folder / "configs" / "dev.yaml").write_text(yaml.safe_dump(profile))
    (folder / "configs" / "experiments" / f"{EXPERIMENT}.yaml").write_text(yaml.safe_dump(experiment))
    return load_project(folder / "configs" / "dev.yaml")


def pipeline(project: Project, dt: date, run_id: str, spark: Any, **options: Any) -> dict[str, float]:
    """Seconds of each stage."""
    run = Run(project, EXPERIMENT, dt, run_id, by_hand=False)
    return run_end_to_end(run, options=options, spark=spark, log=lambda line: None).seconds


def against_duckdb(project: Project, dt: date, *, distinct: bool) -> float:
    """Seconds that DuckDB takes on two threads."""
    db = duckdb.connect(config={"threads": 2})
    metrics = project.metrics_of(project.experiment(EXPERIMENT))
    started = time.monotonic()
    same_work(db, project.raw_folder(EXPERIMENT), metrics, micros(cutoff(dt)), distinct=distinct)
    return time.monotonic() - started


def measure(folder: Path, users: int) -> dict[str, Any]:
    """One size: cold, warm and incremental runs of the pipeline beside DuckDB."""
    from exp_platform.spark.session import build_spark_session

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder)
    write_raw(folder / "raw", users)
    last = folder / "raw" / "exp_platform" / EXPERIMENT / "outcomes" / f"dt={DAY_31}"
    shutil.move(last, folder / "later")
    spark = build_spark_session("bench", project)
    cold = pipeline(project, DAY_30, "r1", spark)
    duck_distinct, duck = (against_duckdb(project, DAY_30, distinct=distinct) for distinct in (True, False))
    warm = pipeline(project, DAY_30, "r2", spark, full_refresh=True)
    shutil.move(folder / "later", last)
    day = pipeline(project, DAY_31, "r3", spark)
    full = pipeline(project, DAY_31, "r4", spark, full_refresh=True)
    peak = _peak_gb(spark)
    spark.stop()
    spine = {name: _total(run, SPINE) for name, run in (("warm", warm), ("day", day), ("full", full))}
    return {
        "users": users,
        "seconds": {"cold": cold, "warm": warm, "day 31 incremental": day, "day 31 full": full},
        "duckdb_seconds": {"from raw": round(duck, 1), "with exact duplicates removed": round(duck_distinct, 1)},
        "spine_over_duckdb": round(spine["warm"] / duck, 2),
        "with_ingest_over_duckdb": round(_total(cold, TO_STATISTICS) / duck_distinct, 2),
        "incremental_over_full": round(spine["day"] / spine["full"], 2),
        "peak_gb": {"jvm": peak, "python": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)},
    }


def _total(seconds: dict[str, float], stages: tuple[str, ...]) -> float:
    return sum(seconds[stage] for stage in stages)


def _peak_gb(spark: Any) -> float | None:
    """Largest resident size of the JVM."""
    with suppress(OSError, AttributeError, StopIteration):
        pid = spark._jvm.java.lang.ProcessHandle.current().pid()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20, 2)
    return None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000])
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "bench")
    arguments = parser.parse_args()
    for users in arguments.users:
        print(
            json.dumps(
                {"at": f"{datetime.now(UTC):%Y-%m-%d}"} | measure(arguments.folder / str(users), users), indent=2
            )
        )


if __name__ == "__main__":
    main()
