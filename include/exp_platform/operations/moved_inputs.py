"""The inputs of two runs that are compared: which runs, their settings and definitions, and what they published."""

from __future__ import annotations

from datetime import date
from typing import Any

from exp_platform.config.load import Project
from exp_platform.config.models import Metric
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.publication import fence_of
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import DECISION, RUN_MANIFEST
from exp_platform.operations.past_run import PastRun, find_past_run, require_events


def run_of(project: Project, name: str, experiment_id: str | None) -> str:
    """The run id behind a name: a date is the last run of the experiment that decided as of this day."""
    try:
        dt = date.fromisoformat(name)
    except ValueError:
        return name
    if experiment_id is None:
        raise ConfigError(f"'{name}' is a day of any experiment: name it with --experiment-id, or give run ids")
    project.experiment(experiment_id)
    key = {"experiment_id": experiment_id, "table": DECISION, "role": "published", "status": "ok"}
    rows = read_rows(load_handle(project, RUN_MANIFEST), key)
    mine = [row for row in rows if row["dt"] == dt]
    if not mine:
        days = sorted({row["dt"] for row in rows})
        known = f"{days[0]} to {days[-1]}, {len(days)} days" if days else "none"
        raise ConfigError(f"no run of {experiment_id} has decided as of {dt}; days with a decision: {known}")
    return str(max(mine, key=lambda row: row["at"])["run_id"])


def two_runs(project: Project, first_id: str, last_id: str) -> tuple[PastRun, PastRun]:
    """Both runs; an error names why two runs can't be compared."""
    if first_id == last_id:
        raise ConfigError(f"both sides are run '{first_id}': nothing can have moved; name two runs or two dates")
    first, last = find_past_run(project, first_id), find_past_run(project, last_id)
    if first.experiment_id != last.experiment_id:
        raise ConfigError(
            f"run '{first_id}' is of {first.experiment_id} and run '{last_id}' of {last.experiment_id}; "
            "name two runs of one experiment"
        )
    if (first.dt, first.at) > (last.dt, last.at):
        raise ConfigError(
            f"run '{first_id}' (as of {first.dt}) is later than run '{last_id}' (as of {last.dt}); "
            f"put the earlier one first: exp compare {last_id} {first_id}"
        )
    for run in (first, last):
        if DECISION not in run.pins.published:
            raise ConfigError(f"run '{run.run_id}' has published no decision; name a run that ended")
        require_events(project, run)
    return first, last


def metrics_of(project: Project, experiment_id: str) -> dict[str, Metric]:
    """The metrics of the experiment and their covariates by name."""
    metrics = project.metrics_of(project.experiment(experiment_id))
    names = dict.fromkeys(name for metric in metrics for name in (metric.name, *metric.covariates))
    return {name: project.metrics[name] for name in sorted(names)}


def published_rows(project: Project, run: PastRun, table: str) -> list[dict[str, Any]]:
    """A run's rows of a table with dt: at the snapshot that it published, else today's where they are still its own."""
    handle, snapshot = load_handle(project, table), run.pins.published[table]
    key = {"experiment_id": run.experiment_id, "dt": run.dt}
    if handle.snapshot_by_id(snapshot) is not None:
        return list(read_arrow(handle, TABLES[table], snapshot, key).to_pylist())
    rows = read_arrow(handle, TABLES[table], fence_of(handle, "main"), key).to_pylist()
    if not rows or any(row["run_id"] != run.run_id for row in rows):
        raise ConfigError(
            f"what run '{run.run_id}' published in {table} is gone: its snapshot has expired, and a later run has "
            f"replaced the rows as of {run.dt}; compare with a later run"
        )
    return list(rows)
