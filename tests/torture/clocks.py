"""Scenarios of clocks: the machine's clock is behind the last commit, or another machine's clock was ahead."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from functools import partial
from types import SimpleNamespace
from typing import Any

from pyiceberg.table import snapshots
from tests.torture.bench import Bench, Scenario
from tests.torture.points import ended, forked

from exp_platform.pipelines.run import Run


def clocks() -> Iterator[Scenario]:
    """A run on a machine whose clock is wrong, after a run on one whose clock is right."""
    for hours, what, expected in (
        (-1, "an hour behind", "exit 1"),  # Iceberg's Java library opens no table whose history goes back in time
        (-0.005, "18 seconds behind", "exit 0"),
    ):
        yield Scenario(
            "time",
            f"arithmetic on a machine whose clock is {what}",
            "the day is run again in a process that sees that time; then in one whose clock is right",
            expected,
            "before sync_registry",
            partial(_at, timedelta(hours=hours)),
        )


def _at(offset: timedelta, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()

    def action() -> None:
        move_clock(offset)
        world.stages(run)

    end = ended(forked(action))
    world.stages(run)
    return str(end), run


def move_clock(offset: timedelta) -> None:
    """Let every module of this process that asks for the time see another one; only for a process that ends soon."""

    class Lenient(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Moved(datetime, metaclass=Lenient):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + offset

    for name, module in list(sys.modules.items()):
        if name.startswith(("exp_platform", "pyiceberg")) and getattr(module, "datetime", None) is datetime:
            module.datetime = Moved  # type: ignore[attr-defined]
    snapshots.time = SimpleNamespace(time=lambda: time.time() + offset.total_seconds())
