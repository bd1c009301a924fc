"""Resolve a run: its first task decides once on experiment, dt and options, and all other tasks read that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from exp_platform.airflow.params import FIELDS
from exp_platform.config.key_rules import suggest
from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError
from exp_platform.pipelines.job import check_synth, dt_of_run
from exp_platform.pipelines.run import Options, Run


def resolve(params: Mapping[str, Any], conf: Mapping[str, Any], run_id: str, now: datetime | None = None) -> Run:
    """The run for a conf; refuses errors that the form can't find, such as unknown keys.

    Airflow adds every key of a conf to `params`, also those that no field of the form has.
    """
    unknown = [key for key in conf if key not in FIELDS]
    if unknown:
        known = sorted(FIELDS)
        raise ConfigError(f"conf: unknown key '{unknown[0]}'{suggest(unknown[0], known)}; allowed: {', '.join(known)}")
    experiment_id, mode = params["experiment_id"], params["analysis_mode"] or None
    project = load_project(params["config"], only=(experiment_id,)).with_analysis_mode(experiment_id, mode)
    project.experiment(experiment_id)
    options = Options(
        generate_synth=params["generate_synth"],
        seed=params["seed"],
        fault=tuple((params["fault"] or "").split()),
        full_refresh=params["full_refresh"],
    )
    if options.generate_synth and not project.profile.synthetic:
        raise ConfigError(
            f"generate_synth: the profile {project.path.name} is not synthetic, so nothing may be generated"
        )
    check_synth(options.generate_synth, options.fault, options.seed)
    given = params["dt"] or dt_begun_with(project, experiment_id, run_id)
    dt = dt_of_run(project, experiment_id, given, now or datetime.now(UTC), options.generate_synth)
    return Run(project, experiment_id, dt, run_id, options, mode)


def dt_begun_with(project: Project, experiment_id: str, run_id: str) -> str | None:
    """The dt that the run has begun with, if any: a run that is cleared on a later day must not mix two dts."""
    from exp_platform.ledger.manifest import run_rows

    rows = run_rows(project, experiment_id, run_id)
    return rows[0]["dt"].isoformat() if rows else None
