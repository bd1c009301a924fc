"""The log of `airflow dags test`, cut into the files in which Airflow's UI looks for the log of each task.

`airflow dags test` runs the tasks in its own process and prints everything; without these files a person who opens the
run in the UI afterwards finds its tasks without logs. Airflow is not imported.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

_RUNNING = re.compile(r"\[DAG TEST\] running task <TaskInstance: (?P<dag>[^\s.]+)\.(?P<task>\S+) (?P<run>\S+) ")
_ENDING = "[DAG TEST] end task"
_LINE = re.compile(
    r"(?P<timestamp>\d{4}-\d\d-\d\dT\S+Z) \[(?P<level>\w+)\s*\] (?P<event>.*?)"
    r"(?:\s+\[(?P<logger>[a-z]\w*(?:\.\w+)*)\].*)?"
)
_SERVER = "airflow.api_fastapi."  # lines of the API, which answers in the same process
_FOLDS = ("::group::", "::endgroup::")  # what they would fold is left out


@dataclass
class TaskLogs:
    """Writes each line of the whole log into the log of the task that is running; `folder` is Airflow's log folder."""

    folder: Path
    tries: dict[str, int] = field(default_factory=dict)  # task -> times that it has begun
    out: TextIO | None = None

    def read(self, line: str) -> None:
        """Take the next line of the log."""
        if match := _RUNNING.search(line):
            self._begin(match["dag"], match["run"], match["task"])
        elif _ENDING in line:
            self.close()
        elif self.out is not None and (text := structured(line)):
            self.out.write(text + "\n")

    def close(self) -> None:
        """End the log of the task."""
        if self.out is not None:
            self.out.close()
            self.out = None

    def _begin(self, dag_id: str, run_id: str, task_id: str) -> None:
        self.close()
        self.tries[task_id] = number = self.tries.get(task_id, 0) + 1
        folder = self.folder / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        folder.mkdir(parents=True, exist_ok=True)
        self.out = (folder / f"attempt={number}.log").open("w", encoding="utf-8")


def structured(line: str) -> str:
    """A line as Airflow writes it for its UI; empty for a line that tells nothing of the task.

    >>> structured("2026-02-01T08:00:00.000000Z [info     ] wrote 10 rows   [airflow.task] loc=x.py:1")
    '{"timestamp": "2026-02-01T08:00:00.000000Z", "level": "info", "event": "wrote 10 rows", "logger": "airflow.task"}'
    """
    text = line.rstrip()
    match = _LINE.fullmatch(text)
    if match is None:
        return json.dumps({"event": text}) if text.strip() else ""
    if (match["logger"] or "").startswith(_SERVER) or match["event"].startswith(_FOLDS):
        return ""
    return json.dumps({key: value for key, value in match.groupdict().items() if value})
