"""A line after each further tenth of a run of the tests: how many are left. It works with and without workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import pytest

TENTHS = 10


class Left:
    """Counts the tests that are over; says after each tenth how many tests and files are left, and since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = clock()
        self.left: set[str] = set()
        self.total = 0
        self.told = 0

    def begin(self, ids: Collection[str]) -> None:
        """Take the tests that are going to run; each worker collects all of them, so the first list is the list."""
        if not self.total:
            self.left, self.total = set(ids), len(set(ids))

    def end(self, nodeid: str) -> str:
        """One test is over: the line to print, or nothing."""
        self.left.discard(nodeid.partition("@")[0])  # xdist's groups are named behind an @
        tenth = TENTHS * (self.total - len(self.left)) // self.total if self.total else 0
        if tenth <= self.told or not self.left:
            return ""
        self.told = tenth
        files = {nodeid.partition("::")[0] for nodeid in self.left}
        minutes = (self.clock() - self.began) / 60
        return f"{len(self.left)} of {self.total} tests are left, in {len(files)} file(s) ({minutes:.0f} min so far)"


class Progress:
    """The plugin of the process that prints: pytest itself, or the one that hands tests to the workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.left = Left()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers the tests are known here."""
        self.left.begin([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """With workers each of them tells what it has collected."""
        self.left.begin([nodeid.partition("@")[0] for nodeid in ids])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """One test is over; with workers this is called in the process that prints."""
        line = self.left.end(nodeid)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if line and terminal is not None:
            terminal.write(f"\n{line}\n")  # below the dots


def register(config: pytest.Config) -> None:
    """Add the plugin, but not in a worker, whose output nobody sees."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "what-is-left")
