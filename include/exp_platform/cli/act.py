"""Commands that compute something: run, synth, reproduce, calibrate."""

from __future__ import annotations

import subprocess
import sys

import typer

from exp_platform.cli import CONFIG, app, console, for_people

_FAULT = typer.Option([], "--fault", help="NAME[:SIZE[:DAYS]], may be given again.")


def _module(name: str, *arguments: str | None) -> None:
    """Run a module of this package in a new process, and exit with its exit code."""
    command = [sys.executable, "-m", f"exp_platform.{name}", *(a for a in arguments if a is not None)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _option(name: str, value: object) -> list[str]:
    return [f"--{name}={value}"] if value is not None else []


@app.command()
def run(
    experiment_id: str,
    dt: str | None = None,
    generate_synth: bool = False,
    full_refresh: bool = False,
    analysis_mode: str | None = None,
    fault: list[str] = _FAULT,
    seed: int | None = None,
    config: str | None = CONFIG,
) -> None:
    """Run every stage for one experiment, in one Spark session; --fault and --seed need --generate-synth."""
    flags = ["--generate-synth"] * generate_synth + ["--full-refresh"] * full_refresh
    given = [("config", config), ("experiment-id", experiment_id), ("dt", dt), ("analysis-mode", analysis_mode)]
    named = [*given, ("seed", seed), *(("fault", f) for f in fault)]
    _module("pipelines.run_end_to_end", *flags, *(word for n, v in named for word in _option(n, v)))


@app.command()
def synth(
    experiment_id: str,
    fault: list[str] = _FAULT,
    seed: int | None = None,
    config: str | None = CONFIG,
) -> None:
    """Generate an experiment's synthetic events, if wanted with faults."""
    named = [("config", config), ("experiment-id", experiment_id), ("seed", seed), *(("fault", f) for f in fault)]
    _module("generate_synth", *(word for n, v in named for word in _option(n, v)))


@app.command()
@for_people
def reproduce(run_id: str, config: str | None = CONFIG) -> None:
    """Compute a past run again from the snapshots that it pinned, and compare every number."""
    from exp_platform.config.load import load_project
    from exp_platform.operations.reproduce import reproduce as again

    report = again(load_project(config), run_id)
    console.print(report.text(), markup=False)
    raise typer.Exit(0 if report.same else 1)


@app.command()
@for_people
def calibrate(experiment_id: str, permutations: int = 1000, seed: int = 1, config: str | None = CONFIG) -> None:
    """A/A on the team's own data: shuffle the unit buckets between arms and count the false alarms."""
    from exp_platform.calibration.own_data import calibrate_experiment
    from exp_platform.config.load import load_project

    console.print(calibrate_experiment(load_project(config), experiment_id, permutations, seed), markup=False)
