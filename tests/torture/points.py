"""Named moments of a stage at which a scenario interferes, and a process of its own in which it does.

A driver is forked: it shares the JVM with this process, which costs a second where a driver of its own costs ten. Both
never speak to the JVM at once. A killed driver leaves what it has written so far, and nothing of ours catches the kill.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.torture.world import World, quiet

from exp_platform.lake import engines, publish
from exp_platform.lake.tables import TABLES
from exp_platform.ledger.manifest import StageManifest
from exp_platform.pipelines import publisher
from exp_platform.pipelines.publisher import Publisher
from exp_platform.pipelines.record import StageRecord
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

Act = Callable[[], Any]

POINTS = {
    "before it writes": "the rows of its first table are not computed yet",
    "after the data files": "the files of its first table are written and audited, not committed",
    "after the commit": "its first table is published, nothing is recorded",
    "before the manifest": "all tables are published, nothing is recorded",
    "between the two records": "the audit is recorded, the manifest is not",
}


@dataclass(frozen=True)
class Ended:
    """How a driver ended: by a signal, or with an exit code."""

    signal: int = 0
    code: int = 0

    def __str__(self) -> str:
        return signal.Signals(self.signal).name if self.signal else f"exit {self.code}"


@contextmanager
def at_point(point: str, act: Act) -> Iterator[None]:
    """Call `act` when a stage first comes to a named moment."""
    once = _once(act)
    with ExitStack() as stack:
        for owner, name, when in _hooks(point):
            original = getattr(owner, name)
            stack.enter_context(mock.patch.object(owner, name, _hooked(original, once, when)))
        yield


def points_of(stage: Stage) -> tuple[str, ...]:
    """The moments that a stage has: one that publishes nothing has its records alone."""
    return tuple(POINTS) if stage.publishes else ("before the manifest", "between the two records")


def forked(action: Act) -> int:
    """Start a driver that does something and ends with the exit code of a job; returns its process id."""
    from exp_platform.errors import ExpError

    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        action()
    except ExpError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        os._exit(code)


def ended(child: int) -> Ended:
    """Wait for a driver's end."""
    _, status = os.waitpid(child, 0)
    return Ended(signal=os.WTERMSIG(status)) if os.WIFSIGNALED(status) else Ended(code=os.WEXITSTATUS(status))


def stopped(child: int) -> bool:
    """Wait until a driver stands still; False when it has ended instead."""
    _, status = os.waitpid(child, os.WUNTRACED)
    return os.WIFSTOPPED(status)


def killed_at(world: World, run: Run, stage: Stage, point: str, how: signal.Signals = signal.SIGKILL) -> Ended:
    """Run a stage in a driver of its own, which sends itself a signal at a named moment."""

    def action() -> None:
        with at_point(point, lambda: os.kill(os.getpid(), how)):
            world.stage(run, stage, quiet)

    return ended(forked(action))


def _hooks(point: str) -> list[tuple[Any, str, Callable[..., bool]]]:
    """Where a moment is: an object, the name of its function, and which of its calls is meant."""
    return {
        "before it writes": [(Publisher, "__call__", _always), (Publisher, "write_unseen", _always)],
        "after the data files": [
            (publish, "commit_staged", _always),
            (publisher, "commit_staged", _always),
            *((catalog, "commit_table", writes_rows) for catalog in catalogs()),
        ],
        "after the commit": [(StageRecord, "landed", _always)],
        "before the manifest": [(StageRecord, "flush", _always)],
        "between the two records": [(StageManifest, "flush", _always)],
        "at the commit": [
            (publish, "commit_staged", _always),
            (publisher, "commit_staged", _always),
            (engines, "row_filter", _always),  # its claim has been checked, the rows of its experiment not yet
        ],
    }[point]


def catalogs() -> tuple[Any, ...]:
    """The classes of the catalogs that a profile may name: SQLite and Postgres are the first, REST is the other."""
    from pyiceberg.catalog.rest import RestCatalog
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog, RestCatalog


def _always(*_: Any, **__: Any) -> bool:
    return True


def writes_rows(_: Any, table: Any, *__: Any) -> bool:
    """A commit of the rows of a table that PyIceberg writes; the platform's own books are none."""
    name = ".".join(table.name()[-2:])
    return name in TABLES and TABLES[name].engine == "pyiceberg" and not name.startswith("ops.")


def _hooked(original: Callable[..., Any], act: Act, when: Callable[..., bool]) -> Callable[..., Any]:
    def hooked(*arguments: Any, **options: Any) -> Any:
        if when(*arguments, **options):
            act()
        return original(*arguments, **options)

    return hooked


def _once(act: Act) -> Act:
    left = iter([None])

    def once() -> None:
        if next(left, 0) is None:
            act()

    return once
