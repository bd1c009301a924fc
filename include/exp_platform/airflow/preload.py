"""Modules that the scheduler imports once, so that its tasks, which are forked from its workers, start with them.

It is a listener of the plugin. Only the LocalExecutor forks its workers from the scheduler; no other process of
Airflow imports more than its plugin and its DAGs need. Changed code reaches tasks when the scheduler starts again.
"""

from __future__ import annotations

import sys
from importlib import import_module

from airflow.listeners import hookimpl
from airflow.sdk import conf

# What DAG files import; what resolves a run, asks for reuse, submits a stage, reads verdicts and alerts.
MODULES = tuple(
    f"exp_platform.{name}"
    for name in (
        "airflow.dag_parts",
        "airflow.daily",
        "airflow.stream_tasks",
        "airflow.tasks",
        "airflow.alerting",
        "airflow.resolve",
        "airflow.submit_by_spark",
        "alerts.deliver",
        "pipelines.run_stage",
    )
)


@hookimpl
def on_starting(component: object) -> None:
    """Import the modules in `airflow scheduler`, before it forks its workers."""
    if sys.argv[1:2] == ["scheduler"] and conf.get("core", "executor") == "LocalExecutor":
        for module in MODULES:
            import_module(module)
