"""Looks for canary values, in command lines and in files, and reads Spark's event logs."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_catalog, load_handle
from exp_platform.lake.tables import TABLES

SECONDS = 0.5


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


def rows_with(database: Mapping[str, str], words: Iterable[str]) -> list[str]:
    """Tables of a Postgres database in which a row, as text, holds one of some words."""
    with closing(psycopg2.connect(**database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = sorted(name for (name,) in cursor.fetchall())
        found = []
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            if any(word in row for (row,) in cursor.fetchall() for word in words):
                found.append(table)
    return found


def metadata_with(project: Project, words: Iterable[str]) -> list[str]:
    """Tables of the lake whose metadata, summaries of all snapshots among them, hold one of some words."""
    catalog = load_catalog(project)
    texts = {name: load_handle(project, name, catalog).metadata.model_dump_json() for name in TABLES}
    return [name for name, text in texts.items() if any(word in text for word in words)]


@dataclass
class Work:
    """Work of an application's executors, each by its id: tasks that ended well, and bytes that went through them."""

    name: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    shuffled: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    returned: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        of_each = (
            f"executor {executor}: {self.tasks[executor]} tasks, {self.shuffled[executor] / 1024:.0f} KiB of shuffles"
            f" written, {self.returned[executor] / 1024:.0f} KiB of results"
            for executor in sorted(self.tasks)
        )
        return f"{self.name}: {'; '.join(of_each)}"


def work_in(events: Path) -> dict[str, Work]:
    """The work of each application that writes an event log in a folder, by its id."""
    applications: dict[str, Work] = defaultdict(Work)
    for path in sorted(events.glob("eventlog_*/events_*")):
        for line in path.read_text().splitlines():
            _add(applications[path.parent.name], json.loads(line))
    return dict(applications)


def _add(work: Work, event: dict[str, Any]) -> None:
    kind = event["Event"]
    if kind == "SparkListenerApplicationStart":
        work.name = event["App Name"]
    elif kind == "SparkListenerEnvironmentUpdate":
        work.settings |= event["Spark Properties"]
    elif kind == "SparkListenerExecutorRemoved":
        work.lost.append(event["Executor ID"])
    elif kind == "SparkListenerTaskEnd" and event["Task End Reason"]["Reason"] == "Success":
        executor, metrics = event["Task Info"]["Executor ID"], event["Task Metrics"]
        work.tasks[executor] += 1
        work.shuffled[executor] += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
        work.returned[executor] += metrics["Result Size"]
