"""Commands that only read: list, validate, power."""

from __future__ import annotations

from typing import Any

import typer
from rich.table import Table as Grid

from exp_platform.cli import CONFIG, app, console, for_people, problems
from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, DECISION

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


def _number(value: float | None, percent: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.2%}" if percent else f"{value:.4g}"


@app.command()
@for_people
def validate(config: str | None = CONFIG) -> None:
    """Check every configuration file, without Spark."""
    project = load_project(config)
    for sentence in project.broken.values():
        problems.print(sentence, markup=False, soft_wrap=True)
    console.print(
        f"{len(project.metrics)} metrics, {len(project.experiments)} experiments are valid"
        + (f", {len(project.broken)} refused" if project.broken else "")
    )
    if project.broken:
        raise typer.Exit(ConfigError.exit_code)


@app.command()
@for_people
def power(metric: str, experiment_id: str | None = None, config: str | None = CONFIG) -> None:
    """Show the smallest effect that each experiment's latest results can find on a metric at 80% power."""
    project = load_project(config)
    if metric not in project.metrics:
        from exp_platform.config.rules import suggest

        raise ConfigError(f"metric '{metric}' not found{suggest(metric, project.metrics)}")
    if experiment_id is not None:
        project.experiment(experiment_id)
    grid = Grid("experiment", "arm", "as of", "users (control, arm)", "smallest effect found", "relative", box=None)
    rows = latest_dt_rows(read_rows(project, ANALYSIS_RESULTS, experiment_id))
    for r in rows:
        experiment = project.experiments.get(r["experiment_id"])
        mine = r["metric_name"] == metric and r["segment"] == "all" and experiment is not None
        if mine and r["method"] == experiment.method_in_force:  # type: ignore[union-attr]
            relative = r["mde"] / abs(r["control_mean"]) if r["mde"] is not None and r["control_mean"] else None
            users = f"{r['control_n']}, {r['treatment_n']}"
            values = (r["experiment_id"], r["variant_id"], str(r["dt"]), users, _number(r["mde"]))
            grid.add_row(*values, _number(relative, percent=True))
    if not grid.rows:
        raise ConfigError(f"no experiment has results for metric '{metric}' yet: `exp run EXPERIMENT`")
    console.print(grid)
