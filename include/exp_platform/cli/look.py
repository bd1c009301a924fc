"""Commands that only read: list, validate."""

from __future__ import annotations

from typing import Any

import typer
from rich.table import Table as Grid

from exp_platform.cli import CONFIG, app, console, for_people, problems
from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError
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


@app.command()
@for_people
def validate(config: str | None = CONFIG) -> None:
    """Check every configuration file, without Spark; warn of margins that the planned users can seldom show."""
    project = load_project(config)
    for sentence in project.broken.values():
        problems.print(sentence, markup=False, soft_wrap=True)
    console.print(
        f"{len(project.metrics)} metrics, {len(project.experiments)} experiments are valid"
        + (f", {len(project.broken)} refused" if project.broken else "")
    )
    for sentence in _margin_warnings(project):
        problems.print(f"warning: {sentence}", markup=False, soft_wrap=True)
    if project.broken:
        raise typer.Exit(ConfigError.exit_code)


def _margin_warnings(project: Project) -> list[str]:
    """The guardrails that the planned users can seldom show; none where there is no lake, or none that answers."""
    from exp_platform.operations.moments import margin_warnings

    try:
        return list(margin_warnings(project))
    except Exception:  # configuration is checked without a lake as well, whatever keeps it from being read
        return []
