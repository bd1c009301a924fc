"""Cost of outcomes that many experiments read: ingested once as a stream, or once for each experiment as its copy.

python benchmarks/streams.py --events 300000 --experiments 1 5
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exp_platform.config.load import Project, load_project
from exp_platform.config.models import Source, Stream
from exp_platform.ingest.intake import intakes_of_experiment
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.pipelines.context import open_stage
from exp_platform.pipelines.registry import BY_NAME, INGEST_STREAMS
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.session import Session
from exp_platform.pipelines.stages.ingest_events import ingest
from exp_platform.pipelines.stream_run import stream_run
from exp_platform.spark.session import build_spark_session

DT, BASE = date(2026, 2, 1), "exp_checkout_button_001"
NAMES = ("add_to_cart", "purchase", "revenue", "page_latency_ms")


def main() -> None:
    """Ingest one stream, then copies, and print processor seconds and stored bytes of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--experiments", type=int, nargs="+", default=[1, 5])
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="exp_streams_"))
    try:
        measure(folder, arguments.events, arguments.experiments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, events: int, numbers: list[int]) -> None:
    """Print one line for the stream and one for each number of copies."""
    shutil.copytree(Path(__file__).resolve().parents[1] / "configs", folder / "configs")
    project = load_project(folder / "configs" / "dev.yaml")
    write_events(folder / "events" / "a.parquet", events)
    source = Source(format="parquet", location=str(folder / "events"))
    stream = Stream(name="shop_events", kind="outcomes", owner="bench", source=source, delivers=NAMES)
    project = replace(project, streams={"shop_events": stream})
    ensure_tables(project)
    spark = build_spark_session("streams", project)
    session = Session.given(spark)
    copy_one(project, "exp_warm_up", source, session)  # classes are loaded once, for whoever comes first
    run = stream_run(project, "shop_events", DT, "s1")
    seconds = cpu_of(lambda: run_stage(run, INGEST_STREAMS, session=session, say=lambda _: None))
    stored = bytes_of(project, "exp.stream_outcomes")
    for number in numbers:
        print(f"stream,  {number} experiments: {seconds:.1f} s of processor time, {stored / 2**20:.1f} MiB stored")
    for number in numbers:
        before = bytes_of(project, "exp.outcomes")
        ids = [f"exp_copy_{number}_{i}" for i in range(number)]
        seconds = cpu_of(lambda ids=ids: [copy_one(project, one, source, session) for one in ids])  # type: ignore[misc]
        stored = bytes_of(project, "exp.outcomes") - before
        print(f"copies,  {number} experiments: {seconds:.1f} s of processor time, {stored / 2**20:.1f} MiB stored")
    spark.stop()


def copy_one(project: Project, experiment_id: str, source: Source, session: Session) -> None:
    """Ingest the outcomes alone as an experiment's own copy."""
    own = source.model_copy(update={"constants": {"experiment_id": experiment_id}})
    content = {"experiment_id": experiment_id, "sources": {"outcomes": own}}
    experiment = project.experiments[BASE].model_copy(update=content)
    mine = replace(project, experiments=project.experiments | {experiment_id: experiment})
    run = Run(mine, experiment_id, DT, "r1")
    with open_stage(run, BY_NAME["ingest_events"], session=session, say=lambda _: None) as ctx:
        ingest(ctx, [one for one in intakes_of_experiment(mine, experiment) if one.dataset == "outcomes"])


def write_events(path: Path, events: int) -> None:
    """Outcome events of a tenth as many users, at random in January."""
    random = np.random.default_rng(7)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    path.parent.mkdir(parents=True)
    table = pa.table(
        {
            "user_id": pa.array([f"user_{i:07d}" for i in random.integers(0, max(events // 10, 1), events)]),
            "metric_name": pa.array(NAMES).take(pa.array(random.integers(0, len(NAMES), events))),
            "value": pa.array(random.gamma(2.0, 10.0, events)),
            "outcome_ts": pa.array(
                start + random.integers(0, 31 * 86_400_000_000, events), pa.timestamp("us", tz="UTC")
            ),
        }
    )
    pq.write_table(table, path)


def cpu_of(work: Callable[[], object]) -> float:
    """Processor seconds of this process and all processes below it, such as Spark's JVM, while the work is done."""
    before = cpu_now()
    work()
    return cpu_now() - before


def cpu_now() -> float:
    """Processor seconds so far of this process and the living processes below it."""
    parents, ticks = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if entry.name.isdecimal():
            parents[int(entry.name)], ticks[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks.get(one, 0) for one in ours) / os.sysconf("SC_CLK_TCK")


def bytes_of(project: Project, table: str) -> int:
    """Bytes of the table's data files."""
    return sum(task.file.file_size_in_bytes for task in load_handle(project, table).scan().plan_files())


if __name__ == "__main__":
    main()
