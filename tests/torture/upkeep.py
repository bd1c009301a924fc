"""Scenarios of maintenance that is at work while a run is."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest import mock

from tests.sessions import session_for
from tests.torture.bench import Bench, Scenario
from tests.torture.world import World, quiet

from exp_platform.operations import maintenance
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run


def beside_a_run(last: Stage) -> Scenario:
    """Maintenance goes round and round while a run is at work, with the shortest ages that it accepts."""
    return Scenario(
        "at once",
        "a run while maintenance compacts, expires and deletes orphans",
        "all that is older than the run's begin is compacted, expired and swept, again and again, during the run",
        "the run ends; maintenance ends each time",
        "before sync_registry",
        partial(_beside, last),
        last=last,
    )


def _beside(last: Stage, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    over, faults, rounds = threading.Event(), [], []
    began = datetime.now(UTC)

    def work() -> None:
        while not over.is_set():
            try:
                _round(world, len(rounds), began)
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


def _round(world: World, number: int, began: datetime) -> None:
    """One round whose clock says that each age has passed since the run's begin, and not a moment more."""
    assert world.shared is not None
    session = session_for(world.shared, world.project)
    maintenance.compact(world.project, session, f"maintenance_{number}", datetime.now(UTC), quiet)
    days = maintenance.LEAST_SNAPSHOT_DAYS
    maintenance.expire(world.project, session, began + timedelta(days=days), keep_days=days, log=quiet)
    days = maintenance.LEAST_ORPHAN_DAYS
    maintenance.remove_orphans(world.project, session, began + timedelta(days=days), older_than_days=days, log=quiet)
