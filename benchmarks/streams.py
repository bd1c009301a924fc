"""Cost of one stream of outcomes that many experiments read, against a copy for each of them and against DuckDB.

python -m benchmarks.streams --users 100000 --experiments 20 --copies 20 --next-day
python -m benchmarks.streams --users 1000000 --share 10 --experiments 3 --copies 1
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml
from benchmarks.spine_bench import DAY_30, DAY_31, ROOT, _cpu
from benchmarks.spine_duckdb import same_work

from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.tables.names import OUTCOMES, STREAM_OUTCOMES
from exp_platform.metrics.values import DAY_US, micros
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME, INGEST_STREAMS
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import stream_run
from exp_platform.spark.session import build_spark_session

EVENTS_PER_USER = 20
WARM_UP = 99  # number of the experiment that runs first and is not counted
NAMES = ("sessions", "latency", "revenue", "conversion", "refunds")
STAGES = ("sync_registry", "ingest_events", "build_assignments", "validate_exposures")
SPINE = ("build_unit_outcomes", "aggregate_metrics")


class Bench:
    """One size: the same experiments over a stream, over copies, and in DuckDB."""

    def __init__(self, folder: Path, users: int, experiments: int, share: int) -> None:
        self.folder, self.users, self.experiments = folder, users, experiments
        self.project = make_project(folder, experiments)
        self.spark = build_spark_session("streams", self.project)
        self.session = Session.given(self.spark)
        self.say(users=users, events=write_events(folder, users))
        for number in (*range(experiments), WARM_UP):
            write_assignments(folder, users, number, share)
        ensure_tables(self.project)

    def say(self, **found: Any) -> None:
        """Print one line as JSON, so that what was measured stays when the rest is stopped."""
        print(json.dumps(found), flush=True)

    def cpu_of(self, work: Callable[[], object]) -> float:
        """Processor seconds of this process, the JVM and its workers while the work is done."""
        before = _cpu(self.spark)
        work()
        return round(_cpu(self.spark) - before, 2)

    def ingest_stream(self, dt: date) -> float:
        """Processor seconds of the stream's ingest."""
        run = stream_run(self.project, "shop_events", dt, f"stream_{dt}")
        return self.cpu_of(lambda: run_stage(run, INGEST_STREAMS, session=self.session, say=lambda _: None))

    def analyse(self, experiment_id: str, dt: date) -> dict[str, float]:
        """Stage -> processor seconds, up to the sums, of one experiment."""
        run, took = Run(self.project, experiment_id, dt, f"r_{experiment_id}_{dt}"), {}
        for name in (*STAGES, *SPINE):
            work: Callable[[], object] = lambda name=name: run_stage(  # type: ignore[misc] # noqa: E731
                run, BY_NAME[name], session=self.session, say=lambda _: None
            )
            took[name] = self.cpu_of(work)
        return took

    def analyse_all(self, copies: int, dt: date) -> None:
        """Analyse every experiment over the stream, and the first ones over their copies too, taking turns."""
        total = {"stream": 0.0, "copy": 0.0}
        for number in range(self.experiments):
            for kind in ("stream", "copy") if number < copies else ("stream",):
                took = self.analyse(f"exp_{kind}_{number:02d}", dt)
                total[kind] += sum(took.values())
                self.say(dt=str(dt), kind=kind, experiments=number + 1, total=round(total[kind], 1), **took)
            if number == 0:
                self.say(of_j4=self.parts())

    def duckdb(self, dt: date) -> float:
        """Processor seconds of DuckDB doing J4 and J5 of every experiment, each by itself from the raw files."""
        import time

        metrics, before = self.project.metrics_of(self.project.experiment("exp_copy_00")), time.process_time()
        for number in range(self.experiments):
            db = duckdb.connect(config={"threads": 2})
            raw = str(self.folder / "duckdb" / f"{number:02d}")
            same_work(db, raw, metrics, micros(cutoff(dt)), distinct=False, folder=self.folder / "written")
        return round(time.process_time() - before, 2)

    def parts(self) -> dict[str, float]:
        """Processor seconds of reading what J4 reads of the stream, and of shuffling it to the users."""
        from exp_platform.pipelines.stream_view import stream_views

        view = stream_views(self.project, self.project.experiment("exp_stream_00"))[OUTCOMES]
        snapshot = load_handle(self.project, STREAM_OUTCOMES).current_snapshot()
        assert snapshot is not None
        columns = ("experiment_id", "user_id", "metric_name", "value", "outcome_ts")
        events = view.frame(self.spark, snapshot.snapshot_id).select(*columns)

        def to_nowhere(frame: Any) -> float:
            return self.cpu_of(lambda: frame.write.format("noop").mode("overwrite").save())

        users = self.spark.read.parquet(str(self.folder / "assignments" / "00")).select("user_id")
        to_nowhere(events.join(users.hint("broadcast"), "user_id", "left_semi").limit(10))
        partitions = int(self.spark.conf.get("spark.sql.shuffle.partitions"))
        return {
            "scan": to_nowhere(events),
            "scan and shuffle": to_nowhere(events.repartition(partitions, "user_id")),
            "scan and join with the broadcast cohort": to_nowhere(
                events.join(users.hint("broadcast"), "user_id", "left_semi")
            ),
        }

    def stored(self, table: str) -> float:
        """MiB of the table's data files."""
        files = load_handle(self.project, table).scan().plan_files()
        return round(sum(task.file.file_size_in_bytes for task in files) / 2**20, 1)

    def next_day(self) -> None:
        """Land the files of one more day."""
        (self.folder / "later" / f"dt={DAY_31}").rename(self.folder / "events" / f"dt={DAY_31}")


def make_project(folder: Path, experiments: int) -> Project:
    """The shipped metrics; each experiment twice, over the stream and over a copy of its events."""
    configs = folder / "configs"
    shutil.copytree(ROOT / "configs" / "metrics", configs / "metrics")
    profile = yaml.safe_load((ROOT / "configs" / "dev.yaml").read_text())
    profile |= {"experiments": {}, "raw_root": str(folder / "raw"), "synthetic": False}
    profile.pop("experiment_defaults", None)
    events = {"format": "parquet", "location": str(folder / "events")}
    written = {"dev.yaml": profile}
    written["streams/shop_events.yaml"] = {
        "name": "shop_events", "kind": "outcomes", "owner": "bench", "source": events, "delivers": list(NAMES)
    }  # fmt: skip
    for kind in ("stream", "copy"):
        for number in (*range(experiments), WARM_UP):
            content = experiment_of(folder, f"exp_{kind}_{number:02d}", number, kind, events)
            written[f"experiments/{content['experiment_id']}.yaml"] = content
    for name, content in written.items():
        (configs / name).parent.mkdir(parents=True, exist_ok=True)
        (configs / name).write_text(yaml.safe_dump(content))
    project = load_project(configs / "dev.yaml")
    assert project.refusals() == [], project.refusals()
    return project


def experiment_of(folder: Path, one: str, number: int, kind: str, events: dict[str, str]) -> dict[str, Any]:
    """One experiment in intent to treat, with assignments of its own and outcomes of the given kind."""
    mine = {"format": "parquet", "location": str(folder / "assignments" / f"{number:02d}")}
    sources = {"assignments": mine | {"constants": {"experiment_id": one}}}
    if kind == "copy":
        sources |= {"outcomes": events | {"constants": {"experiment_id": one}}}
    return {
        "experiment_id": one, "name": "Benchmark", "owner": "bench", "hypothesis": "none",
        "start_ts": "2026-01-01", "end_ts": "2026-01-31", "analysis_mode": "itt", "exposure_source": "none",
        "primary_metric": "conversion",
        "metrics": sorted(path.stem for path in (folder / "configs" / "metrics").glob("*.yaml")),
        "variants": [{"id": "control", "allocation": 0.5, "is_control": True}, {"id": "treatment", "allocation": 0.5}],
        "sources": sources, **({"streams": {"outcomes": ["shop_events"]}} if kind == "stream" else {}),
    }  # fmt: skip


def write_events(folder: Path, users: int) -> int:
    """20 outcome events a user from mid December on, a folder per day, the last one apart; returns their number."""
    db = duckdb.connect(config={"threads": 2})
    db.execute("set timezone = 'UTC'")
    db.execute(
        f"""create temp table o as
        with e as (select i, hash(i, k, 'm') % 20 as m, hash(i, k, 't') as h,
                   (hash(i, k, 'v') % 1000003) / 1000003.0 as r
                   from range({users}) u(i), range({EVENTS_PER_USER}) s(k)),
        n as (select *, case when m < 9 then 'sessions' when m < 16 then 'latency' when m < 18 then 'revenue'
              when m < 19 then 'conversion' else 'refunds' end as metric_name from e)
        select format('user_{{:08d}}', i) as user_id, metric_name,
               if(metric_name in ('sessions', 'conversion'), 1.0, round(-30 * ln(1 - r * 0.9999), 2)) as value,
               make_timestamptz(epoch_us(timestamptz '2025-12-18') + (h % (45::bigint * {DAY_US}))::bigint)
                   as outcome_ts from n"""
    )
    for name, where in (("events", "<="), ("later", ">")):
        select = f"select *, strftime(outcome_ts, '%Y-%m-%d') as dt from o where outcome_ts::date {where} '{DAY_30}'"
        db.execute(f"copy ({select}) to '{folder / name}' (format parquet, partition_by (dt))")
    return users * EVENTS_PER_USER


def write_assignments(folder: Path, users: int, number: int, share: int) -> None:
    """One in `share` users, over 30 days; and a folder in which DuckDB finds them beside the events."""
    db = duckdb.connect(config={"threads": 2})
    db.execute("set timezone = 'UTC'")
    target = folder / "assignments" / f"{number:02d}" / "dt=2026-01-30"
    target.mkdir(parents=True)
    db.execute(
        f"""copy (select format('user_{{:08d}}', i) as user_id,
        if(hash('v', i, {number}) % 2 = 0, 'control', 'treatment') as variant,
        make_timestamptz(epoch_us(timestamptz '2026-01-01')
            + (hash('t', i, {number}) % (30::bigint * {DAY_US}))::bigint) as assignment_ts, 'user' as unit
        from range({users}) r(i) where hash('e', i, {number}) % {share} = 0)
        to '{target}/a.parquet' (format parquet)"""
    )
    raw = folder / "duckdb" / f"{number:02d}"
    raw.mkdir(parents=True)
    (raw / "assignments").symlink_to(target.parent)
    (raw / "outcomes").symlink_to(folder / "events")


def measure(folder: Path, users: int, experiments: int, copies: int, *, share: int, next_day: bool) -> None:
    """Print one line of JSON for each measurement of one size."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bench = Bench(folder, users, experiments, share)
    started = datetime.now(UTC)
    bench.say(stream_ingest=bench.ingest_stream(DAY_30), stream_mib=bench.stored(STREAM_OUTCOMES))
    # Classes are loaded once, for whoever comes first: one more experiment runs before all others, and counts in none.
    bench.say(warm_up=bench.analyse(f"exp_stream_{WARM_UP}", DAY_30))
    bench.analyse_all(copies, DAY_30)
    bench.say(stream_mib=bench.stored(STREAM_OUTCOMES), copy_mib=bench.stored(OUTCOMES))
    bench.say(duckdb=bench.duckdb(DAY_30))
    if next_day:
        bench.next_day()
        bench.say(stream_ingest_next_day=bench.ingest_stream(DAY_31))
        bench.analyse_all(copies, DAY_31)
    bench.say(minutes=round((datetime.now(UTC) - started).total_seconds() / 60, 1))
    bench.spark.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--experiments", type=int, default=5)
    parser.add_argument("--copies", type=int, default=5, help="how many of the experiments run over a copy too")
    parser.add_argument("--share", type=int, default=5, help="one in so many users is in an experiment")
    parser.add_argument("--next-day", action="store_true", help="measure a second day, on what the first has left")
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "bench_streams")
    found = parser.parse_args(arguments)
    folder = found.folder / str(found.users)
    try:
        measure(folder, found.users, found.experiments, found.copies, share=found.share, next_day=found.next_day)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
    os._exit(0)
