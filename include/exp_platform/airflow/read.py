"""What tasks read from the lake, through PyIceberg; imported inside tasks, never when a DAG file is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from exp_platform.config.load import Project, load_project
from exp_platform.errors import ExpError


def project_of(run: Mapping[str, Any]) -> Project:
    """The configuration as this run sees it."""
    return load_project(run["config"]).with_analysis_mode(run["experiment_id"], run.get("analysis_mode"))


def verdict_rows(run: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of a table that this very run has published, even when another run has published since."""
    from exp_platform.lake.catalog import load_catalog, load_handle
    from exp_platform.lake.read import read_arrow
    from exp_platform.lake.tables import TABLES
    from exp_platform.ledger import manifest

    project, experiment_id, run_id = project_of(run), run["experiment_id"], run["run_id"]
    catalog = load_catalog(project)
    snapshot_id = manifest.pins_of(manifest.run_rows(project, experiment_id, run_id, catalog)).published.get(table)
    if snapshot_id is None:
        raise ExpError(f"{table}: run {run_id} has published nothing there; clear the stage that writes it")
    key: dict[str, Any] = {"experiment_id": experiment_id}
    if TABLES[table].has_dt:
        key["dt"] = date.fromisoformat(run["dt"])
    rows: list[dict[str, Any]] = read_arrow(
        load_handle(project, table, catalog), TABLES[table], snapshot_id, key
    ).to_pylist()
    return rows


def latest_decision(project: Project, experiment_id: str) -> dict[str, Any] | None:
    """The summing-up row of the latest dt; None when nothing was decided yet."""
    from exp_platform.lake.catalog import load_catalog, load_handle
    from exp_platform.lake.ops import read_rows

    handle = load_handle(project, "gold.fct_experiment_decision", load_catalog(project))
    rows = read_rows(handle, {"experiment_id": experiment_id, "variant_id": "all"})
    return max(rows, key=lambda row: row["dt"], default=None)
