"""Histories of runs, eight runs at once, and runs beside maintenance: catalogs are Postgres, and REST over a store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table as IcebergTable
from tests.conftest import ROOT, make_project
from tests.postgres_server import postgres
from tests.published_lake import published_lake
from tests.store_server import store_server
from tests.torture.points import Ended, ended, forked
from tests.torture.short_histories import Books
from tests.torture.small_world import ARITHMETIC, INPUTS
from tests.torture.together import answer, beside, copy_rows
from tests.torture.world import World

from exp_platform.config.load import Project
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.lake.tables.names import DECISION

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]

AT_ONCE = 8
HISTORIES = 200
ROUNDS = 3  # of maintenance, while run follows run


@pytest.fixture(scope="module", params=["Postgres", "REST"])
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The keys of a profile whose catalog is a service."""
    if request.param == "Postgres":
        # Its folder is no pytest's: another pytest that starts takes the right to enter that from the server's user.
        with tempfile.TemporaryDirectory(prefix="exp_postgres_") as place, postgres(Path(place)) as address:
            warehouse = str(tmp_path_factory.mktemp("warehouse"))
            yield {"catalog": {"type": "postgres", "uri": address, "warehouse": warehouse, "user": "postgres"}}
    else:
        with store_server(tmp_path_factory.mktemp("store")) as server:
            # Of the store's two ports this catalog tells Spark the one with TLS.
            yield {"catalog": server.rest(), "object_store": server.with_tls()}


@pytest.mark.filterwarnings("ignore:Delete operation did not match")
def test_after_each_step_of_two_hundred_histories_the_books_are_those_of_the_model(
    profile: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = make_project(tmp_path_factory.mktemp("books"), **profile)
    if "object_store" in profile:
        ensure_buckets(project)
    ensure_tables(project)
    assert Books(project).histories(range(HISTORIES), 2) == []


def test_eight_experiments_at_once_all_end_well_with_one_answer(
    profile: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project, plan = published_lake(tmp_path_factory.mktemp("eight"), **profile)
    world = World(project, dt=plan.dt, one="exp_test", two="exp_other", plan=ARITHMETIC)
    names = [f"exp_beside_{number}" for number in range(AT_ONCE)]
    with beside(world, names):
        for name in names:
            for table in INPUTS:
                copy_rows(world, table, name)
        runs = [world.run(f"run_{name}", experiment_id=name) for name in names]
        children = [forked(partial(world.stages, run)) for run in runs]
        assert Counter(map(ended, children)) == {Ended(): AT_ONCE}
        assert len({answer(world, name) for name in names}) == 1


def test_runs_beside_maintenance_end_with_the_answer_of_an_undisturbed_one(
    profile: dict[str, Any], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project, plan = published_lake(tmp_path_factory.mktemp("upkeep"), **profile)
    world = World(project, dt=plan.dt, one="exp_test", two="exp_other", plan=ARITHMETIC)
    world.stages(world.run("undisturbed", full_refresh=True))
    expected, before = answer(world, world.one), snapshots(project)
    orphan = None if "object_store" in profile else old_orphan(load_handle(project, DECISION))
    over, said = tmp_path / "over", tmp_path / "rounds.txt"
    command = [sys.executable, "-m", "tests.torture.rounds", project.path, datetime.now(UTC).isoformat(), over]
    with said.open("w") as out, subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=out, stderr=out) as upkeep:
        answers = []
        try:
            while upkeep.poll() is None and said.read_text().count("round ") < ROUNDS:
                world.stages(world.run(f"beside_{len(answers)}", full_refresh=True))
                answers.append(answer(world, world.one))
        finally:
            over.touch()
    assert upkeep.returncode == 0, said.read_text()[-3000:]
    assert len(answers) >= ROUNDS and set(answers) == {expected}
    assert before[DECISION] - snapshots(project)[DECISION], "no snapshot has expired"
    assert orphan is None or not orphan.exists(), "no orphan was deleted"
    for name, handle in ensure_tables(project).items():  # every file that a table names is there
        assert handle.scan().to_arrow().num_rows == handle.scan().count(), name


def old_orphan(handle: IcebergTable) -> Path:
    """A new file of a month's age in a table's folder on this machine, which no snapshot holds."""
    path = Path(handle.location().removeprefix("file:")) / "data" / "orphan.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1")
    os.utime(path, (time.time() - 30 * 86_400,) * 2)
    return path


def snapshots(project: Project) -> dict[str, set[int]]:
    """The snapshots that each table still has."""
    return {name: {s.snapshot_id for s in handle.snapshots()} for name, handle in ensure_tables(project).items()}
