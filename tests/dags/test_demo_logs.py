"""After `make demo` the log of each task is where Airflow's UI looks for it."""

from __future__ import annotations

import json
from pathlib import Path

from exp_platform.airflow.demo_logs import TaskLogs

RUN = "experiment_analysis.ingest_events by_hand__1"
LOG = f"""\
2026-02-01T08:00:00.1Z [info     ] Filling up the DagBag [airflow.dag_processing] loc=x.py:1
2026-02-01T08:00:01.1Z [info     ] [DAG TEST] running task <TaskInstance: {RUN} [x]> [dag]
2026-02-01T08:00:02.1Z [info     ] Task started [airflow.api_fastapi.execution_api.routes.task_instances] loc=y.py:2
2026-02-01T08:00:03.1Z [info     ] spark-submit --master local[2] ingest_events.py [spark] loc=z.py:3
ingest_events: wrote 10 rows

2026-02-01T08:00:04.1Z [error    ] Task failed with exception [task] loc=z.py:4
2026-02-01T08:00:05.1Z [info     ] [DAG TEST] end task task_id=ingest_events map_index=-1 [dag]
between two tasks
2026-02-01T08:00:06.1Z [info     ] [DAG TEST] running task <TaskInstance: {RUN} [x]> [dag]
ingest_events: the second try
"""


def events(file: Path) -> list[str]:
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


def test_each_try_of_a_task_has_its_own_lines_and_not_those_of_the_server(tmp_path: Path) -> None:
    logs = TaskLogs(tmp_path)
    for line in LOG.splitlines(keepends=True):
        logs.read(line)
    logs.close()
    folder = tmp_path / "dag_id=experiment_analysis" / "run_id=by_hand__1" / "task_id=ingest_events"
    assert events(folder / "attempt=1.log") == [
        "spark-submit --master local[2] ingest_events.py",
        "ingest_events: wrote 10 rows",
        "Task failed with exception",
    ]
    assert events(folder / "attempt=2.log") == ["ingest_events: the second try"]
    assert json.loads((folder / "attempt=1.log").read_text().splitlines()[2])["level"] == "error"
