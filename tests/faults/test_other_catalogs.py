"""Histories of runs, and eight runs at once, on a Postgres catalog and on a REST catalog over an object store."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import make_project
from tests.postgres_server import postgres
from tests.published_lake import published_lake
from tests.store_server import store_server
from tests.torture.points import Ended, ended, forked
from tests.torture.short_histories import Books
from tests.torture.small_world import ARITHMETIC, INPUTS
from tests.torture.together import answer, beside, copy_rows
from tests.torture.world import World

from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.object_store import ensure_buckets

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]

AT_ONCE = 8


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
            yield {"catalog": server.rest(), "object_store": server.store()}


@pytest.mark.filterwarnings("ignore:Delete operation did not match")
def test_after_each_step_of_twenty_histories_the_books_are_those_of_the_model(
    profile: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = make_project(tmp_path_factory.mktemp("books"), **profile)
    if "object_store" in profile:
        ensure_buckets(project)
    ensure_tables(project)
    books = Books(project)
    books.forget()
    assert [said for seed in range(20) if (said := books.history(seed, 2))] == []


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
