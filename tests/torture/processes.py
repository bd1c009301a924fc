"""Scenarios of processes: killed at every named moment, stopped and continued, and cut off from a commit's answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from unittest import mock

from sqlalchemy.exc import OperationalError
from tests.torture.bench import Bench, Scenario
from tests.torture.points import (
    POINTS,
    at_point,
    catalogs,
    ended,
    forked,
    killed_at,
    points_of,
    stopped,
    writes_rows,
)
from tests.torture.world import quiet

from exp_platform.operations.maintenance import expire, remove_orphans
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

ALL_OR_NOTHING = "each table as before or as after the stage"
TO_THE_END = ("after the commit",)  # after these kills the run goes on to its end; after others its stage is enough


def kills(stages: Iterable[Stage], points: Iterable[str] = tuple(POINTS)) -> Iterator[Scenario]:
    """A driver is killed at each moment of each stage, and the stage is tried again."""
    for stage in stages:
        for point in (point for point in points if point in points_of(stage)):
            yield Scenario(
                "killed drivers",
                f"{stage.name}: kill -9 {point}",
                f"kill -9 where {POINTS[point]}; the stage is tried again",
                f"SIGKILL; {ALL_OR_NOTHING}",
                f"before {stage.name}",
                partial(_kill, stage, point, signal.SIGKILL),
                last=None if point in TO_THE_END else stage,
            )


def terminations(stages: Iterable[Stage]) -> Iterator[Scenario]:
    """A driver is told to end, as Airflow does with a task that is cleared or has timed out."""
    point = "after the data files"
    for stage in stages:
        yield Scenario(
            "killed drivers",
            f"{stage.name}: SIGTERM {point}",
            f"SIGTERM where {POINTS[point]}; the stage is tried again",
            f"SIGTERM; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_kill, stage, point, signal.SIGTERM),
            last=stage,
        )


def stood_still(stages: Iterable[Stage]) -> Iterator[Scenario]:
    """A driver stands still before its commit, longer than a heartbeat, and goes on after another took its place."""
    for stage in stages:
        for newer, who in ((False, "the retry"), (True, "a newer run")):
            yield Scenario(
                "drivers that stood still",
                f"{stage.name}: SIGSTOP, SIGCONT after {who} has published",
                f"stopped between the check of its claim and its commit; {who} publishes; continued",
                "exit 75",
                f"before {stage.name}",
                partial(_stand_still, stage, newer),
                last=stage,
            )


def lost_answers(stages: Iterable[Stage]) -> Iterator[Scenario]:
    """The catalog commits, and the answer is lost on the way."""
    for stage in stages:
        yield Scenario(
            "catalog",
            f"{stage.name}: the answer to a commit is lost",
            "the catalog commits its first table, then the connection breaks; the stage is tried again",
            f"exit 1; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_lose_answer, stage),
            last=stage,
        )


def cleanings(stages: Iterable[Stage]) -> Iterator[Scenario]:
    """Maintenance removes what a killed driver has left, and nothing else."""
    for stage in stages:
        yield Scenario(
            "maintenance",
            f"{stage.name}: maintenance cleans up after a killed driver",
            "kill -9 before the commit; the stage is tried again; a month later snapshots and orphans are removed",
            "something was left; nothing is left",
            f"before {stage.name}",
            partial(_clean, stage),
            last=stage,
        )


def _clean(stage: Stage, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    assert world.spark is not None
    killed_at(world, run, stage, "after the data files")
    before = list(bench.leftovers(stage))
    world.stages(run, [stage])
    world.age()
    expire(world.project, world.spark, datetime.now(UTC), log=quiet, tables=stage.publishes)
    remove_orphans(world.project, world.spark, datetime.now(UTC), log=quiet, tables=stage.publishes)
    left = list(bench.leftovers(stage))
    return f"{'something' if before else 'nothing'} was left; {', '.join(left) or 'nothing'} is left", run


def _kill(stage: Stage, point: str, how: signal.Signals, bench: Bench) -> tuple[str, Run]:
    run = bench.world.run()
    end = killed_at(bench.world, run, stage, point, how)
    seen = f"{end}; {_visible(bench, stage)}"
    to_the_end = how is signal.SIGKILL and point in TO_THE_END
    bench.world.rest(run, stage) if to_the_end else bench.world.stages(run, [stage])
    return seen, run


def _stand_still(stage: Stage, newer: bool, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()

    def action() -> None:
        with at_point("at the commit", lambda: os.kill(os.getpid(), signal.SIGSTOP)):
            world.stage(run, stage)

    child = forked(action)
    if not stopped(child):
        return "the stage ended before it came to its commit", run
    if newer:
        run = world.run("newer")
        world.stages(run, world.up_to(stage))
    else:
        world.stages(run, [stage])
    os.kill(child, signal.SIGCONT)
    return str(ended(child)), run


def _lose_answer(stage: Stage, bench: Bench) -> tuple[str, Run]:
    run, original, left = bench.world.run(), catalogs()[0].commit_table, iter([None])

    def commit(catalog: object, table: object, *rest: object) -> object:
        done = original(catalog, table, *rest)
        if writes_rows(catalog, table) and next(left, 0) is None:
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))
        return done

    def action() -> None:
        with mock.patch.object(catalogs()[0], "commit_table", commit):
            bench.world.stage(run, stage)

    seen = f"{ended(forked(action))}; {_visible(bench, stage)}"
    bench.world.stages(run, [stage])
    return seen, run


def _visible(bench: Bench, stage: Stage) -> str:
    return "; ".join(bench.half_published(stage)) or ALL_OR_NOTHING
