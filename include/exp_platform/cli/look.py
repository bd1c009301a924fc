"""Commands that only read: list, validate."""

from __future__ import annotations

from typing import Any

from rich.table import Table as Grid

from exp_platform.cli import CONFIG, app, console, for_people
from exp_platform.config.load import Project, load_project
from exp_platform.lake.tables.names import DECISION

Row = dict[str, Any]


def read_rows(project: Project, table: str, experiment_id: str | None = None) -> list[Row]:
    """Rows of a published table, of one experiment or of all."""
    from pyiceberg.expressions import AlwaysTrue, EqualTo

    from exp_platform.lake.catalog import load_handle

    which = EqualTo("experiment_id", experiment_id) if experiment_id else AlwaysTrue()
    rows: list[Row] = load_handle(project, table).scan(row_filter=which).to_arrow().to_pylist()
    return rows


def latest_dt_rows(rows: list[Row]) -> list[Row]:
    """The rows of each experiment's latest dt."""
    latest: dict[str, Any] = {}
    for row in rows:
        latest[row["experiment_id"]] = max(latest.get(row["experiment_id"], row["dt"]), row["dt"])
    return [row for row in rows if row["dt"] == latest[row["experiment_id"]]]


@app.command("list")
@for_people
def list_experiments(config: str | None = CONFIG) -> None:
    """List the experiments with their latest trust and decision."""
    project = load_project(config)
    decisions = {
        row["experiment_id"]: row for row in latest_dt_rows(read_rows(project, DECISION)) if row["variant_id"] == "all"
    }
    grid = Grid("experiment", "name", "owner", "status", "as of", "trust", "decision", box=None)
    for experiment_id, experiment in sorted(project.experiments.items()):
        row = decisions.get(experiment_id)
        verdict = (str(row["dt"]), row["trust"], row["decision"]) if row else ("never run", "", "")
        grid.add_row(experiment_id, experiment.name, experiment.owner, experiment.status, *verdict)
    for experiment_id in sorted(project.broken):
        grid.add_row(experiment_id, "", "", "refused", "", "", "see `exp validate`")
    console.print(grid)


def number(value: float | None, percent: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.2%}" if percent else f"{value:.4g}"
