"""Looks for canary values: in the command lines of all processes of a machine while something runs, and in files."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

SECONDS = 0.2


def event_log(folder: Path) -> dict[str, str]:
    """Spark's settings that write its event log into a folder: as text, in which a secret can be found."""
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": f"file://{folder}",
    }


class CommandLines:
    """Samples /proc/*/cmdline in the background, and keeps those that hold one of some words."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = [word.encode() for word in words]
        self.found: set[str] = set()
        self.seen: set[str] = set()  # programs, to know that the sampling saw the processes that it is about
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SECONDS):
            for line in command_lines():
                text = line.replace(b"\0", b" ").decode(errors="replace")
                self.seen.update(name for name in ("SparkSubmit", "CoarseGrainedExecutorBackend") if name in text)
                if any(word in line for word in self.words):
                    self.found.add(text[:2000])


def command_lines() -> Iterator[bytes]:
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            continue


def files_with(folder: Path, words: Iterable[str], *, but: Iterable[str] = ()) -> list[str]:
    """Files below a folder that hold one of some words, or that a word names; folders named in `but` are left out."""
    wanted = [word.encode() for word in words]
    left_out = set(but)
    paths = (path for path in folder.rglob("*") if path.is_file() and not left_out & set(path.parts))
    return [str(path) for path in paths if any(word in path.read_bytes() for word in wanted)]
