"""Processor seconds of each test file and of the processes that it started, to show what makes the suite long.

A process that nobody waited for is no longer counted once it has ended, so that the figures are lower bounds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TICKS = os.sysconf("SC_CLK_TCK")
SECONDS = pytest.StashKey[dict[str, float]]()
BEGAN = pytest.StashKey[float]()
SHOWN = 25


def of_process(pid: int) -> tuple[int, float]:
    """Parent and processor seconds of a process, with those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15]) / TICKS


def of_tree(root: int) -> float:
    """Processor seconds of a process and of all that descend from it; 0 where the system has no /proc."""
    parents, seconds = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(entry.name)
            parents[pid], seconds[pid] = of_process(pid)
        except OSError:
            continue  # the process ended between the two looks

    def descends(pid: int | None) -> bool:
        while pid is not None and pid != root:
            pid = parents.get(pid)
        return pid == root

    return sum(spent for pid, spent in seconds.items() if descends(pid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    """Book what was spent since the last file ended on this file, when its last test has run."""
    config = item.config
    if config.stash.get(BEGAN, None) is None:
        config.stash[BEGAN] = of_tree(os.getpid())
    result = yield
    if nextitem is None or nextitem.path != item.path:
        now, spent = of_tree(os.getpid()), config.stash.setdefault(SECONDS, {})
        file = item.nodeid.partition("::")[0]
        spent[file] = spent.get(file, 0.0) + max(0.0, now - config.stash[BEGAN])
        config.stash[BEGAN] = now
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its figures to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["processor_seconds"] = session.config.stash.get(SECONDS, {})


def collect(config: pytest.Config, of_worker: dict[str, float]) -> None:
    """Add the figures of a worker that has ended."""
    spent = config.stash.setdefault(SECONDS, {})
    for file, seconds in of_worker.items():
        spent[file] = spent.get(file, 0.0) + seconds


def lines(config: pytest.Config) -> list[str]:
    """The dearest files, dearest first, below the sum of all."""
    spent = config.stash.get(SECONDS, {})
    dearest = sorted(spent.items(), key=lambda entry: -entry[1])[:SHOWN]
    return [f"{sum(spent.values()):8.0f} s  all files", *(f"{seconds:8.0f} s  {file}" for file, seconds in dearest)]
