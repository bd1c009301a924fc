"""The spine against DuckDB on the same raw files, in one run: ratios, growth, memory, and a day against everything.

python -m benchmarks.spine_bench --users 100000 1000000 --folder data/bench
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import yaml
from benchmarks.spine_duckdb import same_work

from exp_platform.config.load import Project, load_project
from exp_platform.metrics.values import DAY_US, micros
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_end_to_end import run_end_to_end

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = "exp_bench"
EVENTS_PER_USER = 20
DAY_29, DAY_30, DAY_31 = (date(2026, 1, day) for day in (29, 30, 31))
CLOSED, QUIET = date(2026, 2, 14), date(2026, 2, 15)  # the last windows close, and the day after
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


@dataclass(frozen=True)
class Took:
    """Seconds on the clock and of processor time."""

    wall: float
    cpu: float

    def over(self, other: Took) -> dict[str, float]:
        """How many times as long; processor time holds on a busy machine too."""
        return {"wall": round(self.wall / other.wall, 2), "cpu": round(self.cpu / other.cpu, 2)}


def pipeline(project: Project, dt: date, run_id: str, spark: Any, **options: Any) -> dict[str, Took]:
    """Stage -> the time that it took, of one run of the pipeline."""
    marks: list[tuple[str, float, float]] = []

    def mark(name: str) -> None:
        marks.append((name, time.monotonic(), _cpu(spark)))

    run = Run(project, EXPERIMENT, dt, run_id, Options(**options))
    run_end_to_end(run, spark=spark, log=lambda line: None, on_stage=lambda stage: mark(stage.name))
    mark("end")
    return {name: Took(round(later[1] - at, 2), round(later[2] - cpu, 2)) for (name, at, cpu), later in pairwise(marks)}


def against_duckdb(project: Project, dt: date, *, distinct: bool, folder: Path | None = None) -> Took:
    """The time of DuckDB on two threads; with a folder it also writes and checks J4's two tables, as J4 does."""
    db = duckdb.connect(config={"threads": 2})
    metrics = project.metrics_of(project.experiment(EXPERIMENT))
    started, cpu = time.monotonic(), time.process_time()
    same_work(db, project.raw_folder(EXPERIMENT), metrics, micros(cutoff(dt)), distinct=distinct, folder=folder)
    return Took(round(time.monotonic() - started, 2), round(time.process_time() - cpu, 2))


def measure(folder: Path, users: int) -> dict[str, Any]:
    """One size: first, warm and incremental runs of the pipeline beside DuckDB."""
    from exp_platform.spark.session import build_spark_session

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder)
    write_raw(folder / "raw", users)
    outcomes = folder / "raw" / "exp_platform" / EXPERIMENT / "outcomes"
    for day in (DAY_30, DAY_31):
        shutil.move(outcomes / f"dt={day}", folder / f"dt={day}")
    spark = build_spark_session("bench", project)

    def landed(day: date) -> None:
        shutil.move(folder / f"dt={day}", outcomes / f"dt={day}")

    runs = {"first run": pipeline(project, DAY_29, "r1", spark)}
    landed(DAY_30)
    runs["day 30 incremental, the first of its kind"] = pipeline(project, DAY_30, "r2", spark)
    runs["warm"] = pipeline(project, DAY_30, "r3", spark, full_refresh=True)
    written = folder / "duckdb"
    numbers = against_duckdb(project, DAY_30, distinct=False)
    duck_distinct, duck = (against_duckdb(project, DAY_30, distinct=d, folder=written) for d in (True, False))
    landed(DAY_31)
    runs["day 31 incremental"] = pipeline(project, DAY_31, "r4", spark)
    runs["day 31 full"] = pipeline(project, DAY_31, "r5", spark, full_refresh=True)
    pipeline(project, CLOSED, "r6", spark)
    runs["a day without an open window"] = pipeline(project, QUIET, "r7", spark)
    peak, worker = _peak_gb(spark), _largest_worker_gb(spark)
    spark.stop()
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    spine = {name: _total(run, SPINE) for name, run in runs.items()}
    whole = {name: _total(run, TO_STATISTICS) for name, run in runs.items()}
    day, full = runs["day 31 incremental"], runs["day 31 full"]
    return {
        "users": users,
        "stages": {name: {stage: asdict(took) for stage, took in run.items()} for name, run in runs.items()},
        "spine": {name: asdict(took) for name, took in spine.items()},
        "duckdb": {
            "the same tables and numbers": asdict(duck),
            "with exact duplicates removed": asdict(duck_distinct),
            "numbers alone": asdict(numbers),
        },
        "spine over duckdb": spine["warm"].over(duck),
        "spine over duckdb with numbers alone": spine["warm"].over(numbers),
        "with ingest over duckdb": _total(runs["first run"], TO_STATISTICS).over(duck_distinct),
        "units with an event on day 31": round(units_with_events(outcomes / f"dt={DAY_31}") / users, 3),
        "incremental over full": spine["day 31 incremental"].over(spine["day 31 full"]),
        "incremental over full, by stage": {stage: day[stage].over(full[stage]) for stage in SPINE},
        "incremental over full, from raw files": whole["day 31 incremental"].over(whole["day 31 full"]),
        "a day without an open window over full": spine["a day without an open window"].over(spine["day 31 full"]),
        "a day without an open window over full, from raw files": whole["a day without an open window"].over(
            whole["day 31 full"]
        ),
        "peak GB": {"jvm": peak, "largest python worker": worker, "python and duckdb": round(here, 2)},
    }


def units_with_events(folder: Path) -> int:
    """How many users the events of a folder belong to."""
    ((users,),) = duckdb.sql(f"select count(distinct user_id) from read_parquet('{folder}/*.parquet')").fetchall()
    return int(users)


def _total(run: dict[str, Took], stages: tuple[str, ...]) -> Took:
    return Took(round(sum(run[s].wall for s in stages), 2), round(sum(run[s].cpu for s in stages), 2))


def _family(spark: Any) -> dict[int, list[str]]:
    """The JVM and the Python workers that it started: process id -> what the kernel counts of it."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats[int(path.parent.name)] = path.read_text().rsplit(")", 1)[1].split()
    family, found = {_jvm(spark)}, 0
    while len(family) > found:
        found = len(family)
        family |= {pid for pid, fields in stats.items() if int(fields[1]) in family}
    return {pid: stats[pid] for pid in family & stats.keys()}


def _jvm(spark: Any) -> int:
    return int(spark._jvm.java.lang.ProcessHandle.current().pid())


def _cpu(spark: Any) -> float:
    """Processor seconds so far of this process, the JVM and its workers."""
    ticks = sum(int(fields[k]) for fields in _family(spark).values() for k in (11, 12, 13, 14))
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


def _peak_gb(spark: Any) -> float:
    """Largest resident size of the JVM."""
    return _largest_gb(_jvm(spark))


def _largest_worker_gb(spark: Any) -> float:
    """Largest resident size of a Python worker that still runs."""
    return max((_largest_gb(pid) for pid in _family(spark).keys() - {_jvm(spark)}), default=0.0)


def _largest_gb(pid: int) -> float:
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0) / 2**20, 2)


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
