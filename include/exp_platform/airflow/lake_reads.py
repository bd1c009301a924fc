"""Reads of the lake by PyIceberg for tasks; imported inside tasks, never when a DAG file is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.config.load import Project
from exp_platform.errors import ExpError
from exp_platform.lake.tables.names import DECISION
from exp_platform.pipelines.run import Run


def project_of(run: Mapping[str, Any]) -> Project:
    """The configuration of a run; `run` is the XCom of the task `resolve_run`."""
    return Run.from_xcom(run).project


def verdict_rows(run: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows that this run has published in a table, even when another run has published since."""
    from exp_platform.lake.catalog import load_catalog, load_handle
    from exp_platform.lake.rows import read_arrow
    from exp_platform.lake.tables import TABLES
    from exp_platform.ledger import manifest

    about = Run.from_xcom(run)
    catalog = load_catalog(about.project)
    rows = manifest.run_rows(about.project, about.experiment_id, about.run_id, catalog)
    snapshot_id = manifest.pins_of(rows).published.get(table)
    if snapshot_id is None:
        raise ExpError(f"{table}: run {about.run_id} has published nothing there; clear the stage that writes it")
    handle, key = load_handle(about.project, table, catalog), about.scope.keys(TABLES[table])
    found: list[dict[str, Any]] = read_arrow(handle, TABLES[table], snapshot_id, key).to_pylist()
    return found


def latest_decision(project: Project, experiment_id: str) -> dict[str, Any] | None:
    """The decision for `all` arms of the latest dt; None without any decision."""
    from exp_platform.lake.catalog import load_catalog, load_handle
    from exp_platform.lake.ops import read_rows

    handle = load_handle(project, DECISION, load_catalog(project))
    rows = read_rows(handle, {"experiment_id": experiment_id, "variant_id": "all"})
    return max(rows, key=lambda row: row["dt"], default=None)
