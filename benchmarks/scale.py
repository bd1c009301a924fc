"""Bytes, time and memory that each stage of one experiment uses, by the size and the shape of its data.

python -m benchmarks.scale --shapes small --book data/bench_scale/small.jsonl
python -m benchmarks.scale --shapes 1m --book data/bench_scale/1m.jsonl

All shapes of one command are experiments of one lake and run in one session. `benchmarks.scale_model` reads the books.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import yaml
from benchmarks.spine_bench import DAY_30, ROOT, _cpu, _largest_worker_gb, _peak_gb
from tests.cluster.watch import event_log

from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import load_catalog, load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.metrics.values import DAY_US
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_end_to_end import run_end_to_end
from exp_platform.spark.session import build_spark_session


@dataclass(frozen=True)
class Shape:
    """How large an experiment is, and in what way its events are uneven."""

    name: str
    users: int
    events_per_user: int = 20
    metric_sets: int = 1  # how often each shipped metric is asked for, under names of its own
    days: int = 30  # of enrolment
    heavy_user: int = 0  # events of one more user
    heavy_day: bool = False  # half of all events on one day

    @property
    def experiment_id(self) -> str:
        """The experiment that has this shape."""
        return f"exp_{self.name}"


SHAPES = {
    "small": [
        Shape("warm_up", 2_000),
        Shape("100k", 100_000),
        Shape("50k", 50_000),
        Shape("more_events", 100_000, events_per_user=40),
        Shape("more_metrics", 100_000, metric_sets=2),
        Shape("fewer_days", 100_000, days=10),
    ],
    "1m": [Shape("1m", 1_000_000)],
    "5m": [Shape("5m", 5_000_000)],
    "20m": [Shape("20m", 20_000_000)],
    "even": [Shape("even", 1_000_000, events_per_user=10)],
    "heavy_user": [Shape("heavy_user", 1_000_000, events_per_user=10, heavy_user=10_000_000)],
    "heavy_day": [Shape("heavy_day", 1_000_000, events_per_user=10, heavy_day=True)],
}


def write_raw(folder: Path, shape: Shape) -> int:
    """Write assignments, exposures and outcomes, a folder for each day; return the number of outcome events."""
    db = duckdb.connect(config={"threads": 2, "memory_limit": "4GB", "preserve_insertion_order": False})
    db.execute("set timezone = 'UTC'")
    name = shape.experiment_id
    db.execute(
        f"""create temp table a as select '{name}' as experiment_id, format('user_{{:08d}}', i) as user_id,
        if(hash('v', i) % 2 = 0, 'control', 'treatment') as variant, i,
        make_timestamptz(epoch_us(timestamptz '2026-01-01')
            + (hash('t', i) % ({shape.days}::bigint * {DAY_US}))::bigint) as assignment_ts, 'user' as unit
        from range({shape.users}) r(i)"""
    )
    source = """case when m < 9 then 'sessions' when m < 16 then 'latency' when m < 18 then 'revenue'
                when m < 19 then 'conversion' else 'refunds' end"""
    later = f"(h % (28::bigint * {DAY_US}))::bigint - 14 * {DAY_US}"
    at = f"make_timestamptz(epoch_us(assignment_ts) + {later})"
    if shape.heavy_day:
        on_the_day = f"make_timestamptz(epoch_us(timestamptz '2026-01-20') + (h % {DAY_US})::bigint)"
        at = f"if((h >> 40) % 2 = 0, {on_the_day}, {at})"
    drawn = """select experiment_id, user_id, assignment_ts, i, hash(i, k, 'm') % 20 as m,
                (hash(i, k, 'v') % 1000003) / 1000003.0 as r, hash(i, k, 't') as h from a, range"""
    events = f"{drawn}({shape.events_per_user}) s(k)"
    if shape.heavy_user:
        one = f"{drawn}({shape.heavy_user}) s(k) where i = 0"
        events = f"{events} union all {one.replace(chr(39) + 't' + chr(39), chr(39) + 'u' + chr(39))}"
    outcomes = f"""with n as (select *, {source} as metric_name, {at} as outcome_ts from ({events}))
        select experiment_id, user_id, metric_name,
               if(metric_name in ('sessions', 'conversion'), 1.0, round(-30 * ln(1 - r * 0.9999), 2)) as value,
               outcome_ts from n"""
    exposures = "select experiment_id, user_id, variant, assignment_ts + interval 1 minute as exposure_ts, unit from a"
    written = 0
    for dataset, query, ts in (
        ("assignments", "select * exclude (i) from a", "assignment_ts"),
        ("exposures", exposures, "exposure_ts"),
        ("outcomes", outcomes, "outcome_ts"),
    ):
        target = folder / "exp_platform" / name / dataset
        target.mkdir(parents=True)
        query = f"select *, strftime({ts}, '%Y-%m-%d') as dt from ({query}) where {ts} < timestamptz '2026-01-31'"
        (written,) = db.execute(f"copy ({query}) to '{target}' (format parquet, partition_by (dt))").fetchone() or (0,)
    return int(written)


def make_project(folder: Path, shapes: Sequence[Shape]) -> Project:
    """One experiment for each shape, all in one lake; Spark writes its event log."""
    metrics: dict[int, list[str]] = {}
    (folder / "configs" / "metrics").mkdir(parents=True)
    (folder / "configs" / "experiments").mkdir()
    for number in range(max(shape.metric_sets for shape in shapes)):
        for path in sorted((ROOT / "configs" / "metrics").glob("*.yaml")):
            content = yaml.safe_load(path.read_text())
            content["name"] += f"_{number + 1}" if number else ""
            (folder / "configs" / "metrics" / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))
            metrics.setdefault(number, []).append(content["name"])
    profile = yaml.safe_load((ROOT / "configs" / "dev.yaml").read_text())
    profile |= {"experiments": {}, "raw_root": str(folder / "raw"), "synthetic": False}
    profile.pop("experiment_defaults", None)
    (folder / "events").mkdir()
    profile["spark"]["conf"] = profile["spark"].get("conf", {}) | event_log(folder / "events")
    for shape in shapes:
        experiment = {
            "experiment_id": shape.experiment_id, "name": "Benchmark", "owner": "bench", "hypothesis": "none",
            "start_ts": "2026-01-01", "end_ts": "2026-01-31", "analysis_mode": "itt", "primary_metric": "conversion",
            "metrics": [name for number in range(shape.metric_sets) for name in metrics[number]],
            "variants": [
                {"id": "control", "allocation": 0.5, "is_control": True}, {"id": "treatment", "allocation": 0.5},
            ],
        }  # fmt: skip
        path = folder / "configs" / "experiments" / f"{shape.experiment_id}.yaml"
        path.write_text(yaml.safe_dump(experiment))
    (folder / "configs" / "dev.yaml").write_text(yaml.safe_dump(profile))
    return load_project(folder / "configs" / "dev.yaml")


def added_bytes(project: Project) -> dict[str, int]:
    """Table -> bytes of all data files that its snapshots have added so far."""
    catalog = load_catalog(project)
    found = {}
    for name in TABLES:
        snapshots = load_handle(project, name, catalog).metadata.snapshots
        found[name] = sum(int(s.summary["added-files-size"] or 0) for s in snapshots if s.summary)
    return found


@dataclass(frozen=True)
class Mark:
    """The moment at which a stage begins, and what had been used until then."""

    stage: str
    at: float
    cpu: float
    written: int


def measure(folder: Path, shapes: Sequence[Shape], book: Path) -> None:
    """Run the pipeline once for each shape; append what each stage used to the book."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder, shapes)
    spark = build_spark_session("scale", project)
    marks: dict[str, list[Mark]] = defaultdict(list)
    events = {}
    for shape in shapes:
        events[shape.name] = write_raw(folder / "raw", shape)

        def mark(stage: str, name: str = shape.name) -> None:
            marks[name].append(Mark(stage, time.time(), _cpu(spark), sum(added_bytes(project).values())))

        run = Run(project, shape.experiment_id, DAY_30, "r1", Options())
        run_end_to_end(run, spark=spark, log=lambda line: None, on_stage=lambda stage: mark(stage.name))
        mark("end")
        print(f"{shape.name}: {marks[shape.name][-1].cpu - marks[shape.name][0].cpu:.0f} processor s", flush=True)
    memory = {"jvm": _peak_gb(spark), "largest python worker": _largest_worker_gb(spark)}
    spark.stop()
    tasks = tasks_in(folder / "events")
    book.parent.mkdir(parents=True, exist_ok=True)
    with book.open("a") as lines:
        for shape in shapes:
            stages = {
                mark.stage: {
                    "cpu": round(later.cpu - mark.cpu, 2),
                    "wall": round(later.at - mark.at, 2),
                    "written": later.written - mark.written,
                    **used(task for at, task in tasks if mark.at <= at < later.at),
                }
                for mark, later in pairwise(marks[shape.name])
            }
            found = asdict(shape) | {"events": events[shape.name], "memory GB": memory, "stages": stages}
            lines.write(json.dumps(found) + "\n")


def tasks_in(folder: Path) -> list[tuple[float, dict[str, Any]]]:
    """The moment at which each of Spark's tasks ended, and its metrics."""
    found = []
    for path in sorted(folder.glob("eventlog_*/events_*")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerTaskEnd" and event.get("Task Metrics"):
                found.append((event["Task Info"]["Finish Time"] / 1000, event["Task Metrics"]))
    return found


def used(tasks: Any) -> dict[str, int]:
    """Bytes that tasks have read from files, shuffled and spilled, and the largest memory of one."""
    total: dict[str, int] = dict.fromkeys(("read", "rows_read", "shuffled", "spilled", "task_memory"), 0)
    for task in tasks:
        total["read"] += task["Input Metrics"]["Bytes Read"]
        total["rows_read"] += task["Input Metrics"]["Records Read"]
        total["shuffled"] += task["Shuffle Write Metrics"]["Shuffle Bytes Written"]
        total["spilled"] += task["Disk Bytes Spilled"]
        total["task_memory"] = max(total["task_memory"], task["Peak Execution Memory"])
    return total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", choices=SHAPES, default="small")
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "bench_scale" / "lake")
    parser.add_argument("--book", type=Path, default=ROOT / "data" / "bench_scale" / "book.jsonl")
    arguments = parser.parse_args()
    try:
        measure(arguments.folder, SHAPES[arguments.shapes], arguments.book)
    finally:
        shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
