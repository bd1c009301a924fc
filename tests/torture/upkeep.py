"""Scenarios of upkeep: maintenance that is at work while a run is, the canary, and the trial of new code."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from unittest import mock

from tests.sessions import session_for
from tests.torture.bench import Bench, Scenario
from tests.torture.world import quiet

from exp_platform.config.load import Project
from exp_platform.operations import maintenance
from exp_platform.operations.promote import try_code
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run
from exp_platform.second_opinion.check import check_experiment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def beside_a_run(last: Stage) -> Scenario:
    """Maintenance goes round and round while a run is at work, with the shortest ages that it accepts."""
    return Scenario(
        "at once",
        "a run while maintenance compacts, expires and deletes orphans",
        "all files get an age of a month; what the run did not write is compacted, expired and swept, again and again",
        "the run ends; maintenance ends each time",
        "before sync_registry",
        partial(_beside, last),
        last=last,
    )


def canary() -> Scenario:
    """The second implementation computes the run's numbers again from the raw files."""
    return Scenario(
        "second opinion",
        "the canary checks a run",
        "`exp canary` computes every metric of the run again from the raw files, by DuckDB",
        "numbers were compared, 0 differ",
        "done",
        _check,
    )


def trial_of_code() -> Scenario:
    """The code at hand computes the latest run of each experiment again."""
    return Scenario(
        "second opinion",
        "exp promote tries the code on published runs",
        "`exp promote` computes the latest run of both experiments again in a scratch lake",
        "2 of 2 runs agree in every number: this code may publish",
        "done",
        _promote,
    )


def _check(bench: Bench) -> tuple[str, Run]:
    world = bench.world
    found = check_experiment(world.project, world.one, cells=1000, say=quiet).opinion
    compared = "numbers were" if found.compared else "nothing was"
    return f"{compared} compared, {found.differ} differ", world.run()


def _promote(bench: Bench) -> tuple[str, Run]:
    world = bench.world
    trial = try_code(world.project, experiments=2, spark=world.spark)
    differing = [line for line in trial.text().splitlines() if line.startswith(("DIFFER", "left out"))]
    return "; ".join([*differing, trial.text().splitlines()[-1].partition(": ")[2]]), world.run()


def _beside(last: Stage, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    over, faults, rounds = threading.Event(), [], []
    world.age()
    began = datetime.now(UTC)

    def work() -> None:
        while not over.is_set():
            try:
                assert world.shared is not None
                one_round(world.project, session_for(world.shared, world.project), len(rounds), began)
                rounds.append(1)
            except Exception as error:
                faults.append(f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
                return

    worker = threading.Thread(target=work)
    with mock.patch.object(maintenance, "SMALL_FILES", 2):
        worker.start()
        try:
            world.stages(run, world.up_to(last))
        finally:
            over.set()
            worker.join()
    ends = "maintenance ends each time" if rounds and not faults else f"maintenance: {faults or 'no round'}"
    return f"the run ends; {ends}", run


def one_round(project: Project, spark: SparkSession, number: int, began: datetime) -> None:
    """Compact, expire the snapshots from before the run as if their age had passed, and delete old orphans."""
    maintenance.compact(project, spark, f"maintenance_{number}", datetime.now(UTC), quiet)
    days = maintenance.LEAST_SNAPSHOT_DAYS
    maintenance.expire(project, spark, began + timedelta(days=days), keep_days=days, log=quiet)
    days = maintenance.LEAST_ORPHAN_DAYS
    maintenance.remove_orphans(project, spark, datetime.now(UTC), older_than_days=days, log=quiet)
