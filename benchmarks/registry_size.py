"""How does the registry's size cost: load of the configuration, the experiments due on a day, index page, one catalog.

    bin/python -m benchmarks.registry_size --experiments 3000 --metrics 1000 --snapshots 10000

Every figure is processor seconds of this process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from exp_platform.airflow.schedule import is_due
from exp_platform.config.load import Project, load_project
from exp_platform.memo.index.entry import to_json, without_memo
from exp_platform.memo.index.page import page
from exp_platform.paths import clone_root

T = TypeVar("T")
START = datetime(2026, 1, 5, tzinfo=UTC)


def timed(what: str, action: Callable[[], T]) -> T:
    """Run an action and print its processor seconds."""
    began = time.process_time()
    found = action()
    print(f"{what:<60} {time.process_time() - began:8.2f} CPU-s", flush=True)
    return found


def make_registry(folder: Path, experiments: int, metrics: int, due: int) -> Path:
    """The shipped configuration with so many copies of an experiment and of a metric; `due` of them run today."""
    shutil.copytree(clone_root() / "configs", folder / "configs")
    metric = (folder / "configs/metrics/revenue.yaml").read_text()
    for i in range(metrics):
        (folder / f"configs/metrics/revenue_{i}.yaml").write_text(
            metric.replace("name: revenue\n", f"name: revenue_{i}\n")
        )
    name = "exp_checkout_button_001"
    text = (folder / f"configs/experiments/{name}.yaml").read_text()
    for i in range(experiments):
        copy = text.replace(name, f"exp_copy_{i:05}")
        if i >= due:
            copy = copy.replace("status: running", "status: concluded").replace("2026-", "2024-")
        (folder / f"configs/experiments/exp_copy_{i:05}.yaml").write_text(copy)
    return folder / "configs/dev.yaml"


def due_on(project: Project, now: datetime) -> list[str]:
    """The experiments that are due on a day, as `daily_experiments` finds them."""
    return [name for name, one in project.experiments.items() if is_due(one, project.metrics_of(one), now.date())]


def stage_of_one(config: Path) -> str:
    """The configuration of one experiment among all, as each stage but write_memo and each task of a run loads it."""
    project = load_project(config, only=("exp_copy_00000",))
    return project.config_hash(project.experiment("exp_copy_00000"))


def measure_snapshots(folder: Path, total: int) -> None:
    """Open, read and commit to one small table of an SQLite catalog whose history has so many snapshots.

    The history is written into the metadata file: ten thousand real commits would take hours.
    """
    from pyiceberg.catalog import load_catalog

    from exp_platform.lake.catalog import PROPERTIES

    catalog = load_catalog("iceberg", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}/w")
    catalog.create_namespace("ops")
    rows = pa.table({"key": ["a"], "n": pa.array([1], pa.int64())})
    table = catalog.create_table("ops.few", rows.schema, properties=PROPERTIES)
    table.append(rows)
    known = json.loads(table.metadata.model_dump_json(by_alias=True, exclude_none=True))
    for count in sorted({1, 100, 1000, total}):
        last = known["snapshots"][-1]
        earlier = [{**last, "snapshot-id": n + 1, "sequence-number": 1} for n in range(count - 1)]
        log = [{"snapshot-id": one["snapshot-id"], "timestamp-ms": last["timestamp-ms"]} for one in [*earlier, last]]
        file = folder / f"many_{count}.metadata.json"
        file.write_text(json.dumps({**known, "snapshots": [*earlier, last], "snapshot-log": log}))
        catalog.register_table(f"ops.many_{count}", f"file://{file}")
        print(f"{count} snapshots, metadata file of {file.stat().st_size / 1e6:.2f} MB before compression")
        many = timed("  load the table", lambda n=count: catalog.load_table(f"ops.many_{n}"))
        timed("  read its rows", lambda t=many: t.scan().to_arrow())
        timed("  commit once", lambda t=many: t.append(rows))


def main() -> None:
    """Measure with the sizes of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=3000)
    parser.add_argument("--metrics", type=int, default=1000)
    parser.add_argument("--due", type=int, default=200)
    parser.add_argument("--snapshots", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.snapshots:
            measure_snapshots(folder, given.snapshots)
            return
        config = make_registry(folder, given.experiments, given.metrics, given.due)
        timed("load what a stage of one experiment needs", lambda: stage_of_one(config))
        project = timed(f"load {given.experiments} experiments, {given.metrics} metrics", lambda: load_project(config))
        assert len(project.experiments) > given.experiments and not project.broken, list(project.broken.values())[:1]
        found = timed("find the experiments due on a day", lambda: due_on(project, START + timedelta(days=9)))
        print(f"{len(found)} are due")
        entries = [
            without_memo(one.experiment_id, one.name, one.owner, one.status) for one in project.experiments.values()
        ]
        html = timed("write the index page", lambda: page(entries, START.date()))
        kept = len(json.dumps([to_json(one) for one in entries]))
        print(f"index page: {len(html) / 1e6:.2f} MB, kept entries {kept / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
