"""A past run as ops.run_manifest records it, and the configuration that it had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables.names import RUN_MANIFEST
from exp_platform.ledger import manifest
from exp_platform.ledger.configurations import kept_configuration, rebuilt
from exp_platform.ledger.pins import PINNED_TABLES, tag_of_run


@dataclass(frozen=True)
class PastRun:
    """A past run as ops.run_manifest records it."""

    run_id: str
    experiment_id: str
    dt: date
    config_hash: str
    code_version: str
    at: datetime
    pins: manifest.Pins
    stages: frozenset[str]  # names of the stages that the run started


def find_past_run(project: Project, run_id: str) -> PastRun:
    """The run as ops.run_manifest records it; an unknown run is an error that names the latest runs."""
    rows = manifest.find_run(project, run_id)
    if not rows:
        latest = {row["run_id"]: row["at"] for row in _all_rows(project)}
        known = sorted(latest, key=lambda name: latest[name], reverse=True)[:5]
        raise ConfigError(f"run '{run_id}' is not in ops.run_manifest; the latest runs: {', '.join(known) or 'none'}")
    last = rows[-1]
    return PastRun(
        run_id,
        last["experiment_id"],
        last["dt"],
        last["config_hash"],
        last["code_version"],
        last["at"],
        manifest.pins_of(rows),
        frozenset(row["stage"] for row in rows),
    )


def _all_rows(project: Project) -> list[dict[str, Any]]:
    found = load_handle(project, RUN_MANIFEST).scan(selected_fields=("run_id", "at")).to_arrow()
    return list(found.to_pylist())


def require_events(project: Project, run: PastRun) -> None:
    """Raise when a snapshot of the events that the run read has expired."""
    tag = tag_of_run(run.experiment_id, run.run_id)
    missing = [
        f"{table}: snapshot {pinned}, pinned by tag {tag}"
        for table in PINNED_TABLES
        if (pinned := run.pins.of(table)) and load_handle(project, table).snapshot_by_id(pinned) is None
    ]
    if missing or not any(run.pins.of(table) for table in PINNED_TABLES):
        raise ConfigError(
            f"run '{run.run_id}' can't be computed again: the snapshots of its events are gone "
            f"({'; '.join(missing) or 'it never read any'}). They are kept for pins.retain_days = "
            f"{project.profile.pins.retain_days} days after a run has published its decision; younger ones were "
            "expired by something other than the platform's maintenance"
        )


def project_of(project: Project, run: PastRun, folder: Path | None) -> Project | None:
    """The project as the run had it: today's if the hash says so, else as ops.configurations kept it; else None.

    A policy that has changed since is written below `folder`, where policies are looked for; without a folder only
    today's configuration is tried.
    """
    if run.experiment_id in project.experiments:
        for mode in (None, "itt", "exposed"):
            candidate = project.with_analysis_mode(run.experiment_id, mode)
            if candidate.config_hash(candidate.experiment(run.experiment_id)) == run.config_hash:
                return candidate
    if folder is None:
        return None
    content = kept_configuration(project, run.experiment_id, run.config_hash)
    return None if content is None else rebuilt(project, run.experiment_id, run.config_hash, content, folder)


def reading_as(project: Project, run: PastRun) -> Project:
    """The project with the experiment reading its own events where the run did; it may have moved since."""
    experiment = project.experiment(run.experiment_id)
    kept = {
        dataset: names
        for dataset, names in experiment.streams.items()
        if run.pins.of(f"exp.stream_{dataset}") is not None or run.pins.of(f"exp.{dataset}") is None
    }
    if kept == experiment.streams:
        return project
    changed = experiment.model_copy(update={"streams": kept})
    return replace(project, experiments=project.experiments | {run.experiment_id: changed})
