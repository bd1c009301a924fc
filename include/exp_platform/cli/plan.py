"""`exp power`: the users and days that an effect needs, and the smallest effect that an experiment finds now."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table as Grid

from exp_platform.cli import CONFIG, app, console, for_people
from exp_platform.cli.look import latest_dt_rows, number, read_rows
from exp_platform.config.key_rules import suggest
from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.lake.tables.names import ANALYSIS_RESULTS
from exp_platform.results.planning import PowerPlan

_EFFECT = typer.Option(None, "--effect", help="Effect to be found: 2%, or a number in the metric's unit.")
_SCALE = typer.Option(
    None,
    "--relative/--absolute",
    help="A share of control's level, or in the metric's unit; default by the %.",
)
_ARMS = typer.Option(2, "--arms", help="Arms of equal size, control included.")
_LIKE = typer.Option(None, "--like", "--experiment-id", help="Experiment to plan from; default the latest.")
_POWER = typer.Option(0.8, "--power", help="Chance that the effect is found.")
_JSON = typer.Option(False, "--json", help="Print JSON in place of a table.")
NAMES = {"fixed": "fixed-horizon", "anytime": "anytime-valid"}


@app.command()
@for_people
def power(
    metric: str,
    effect: str | None = _EFFECT,
    relative: bool | None = _SCALE,
    arms: int = _ARMS,
    like: str | None = _LIKE,
    power: float = _POWER,
    as_json: bool = _JSON,
    config: str | None = CONFIG,
) -> None:
    """Plan an experiment: users and days to find --effect; without it, the smallest effect that each one finds now."""
    project = load_project(config)
    if metric not in project.metrics:
        raise ConfigError(f"metric '{metric}' not found{suggest(metric, project.metrics)}")
    if like is not None:
        project.experiment(like)
    if effect is None:
        _show_detectable(detectable(project, metric, like), as_json)
        return
    from exp_platform.operations.planning_moments import moments_in_lake
    from exp_platform.results.planning import asked_effect, plan_power

    asked = asked_effect(effect, relative, project.metrics[metric])
    plan = plan_power(moments_in_lake(project, metric, like), asked, arms, power)
    if as_json:
        typer.echo(json.dumps(_record(plan), indent=2, default=str))
    else:
        _show_plan(plan)


def detectable(project: Project, metric: str, like: str | None) -> list[dict[str, Any]]:
    """The smallest effect that each arm of the latest results finds on a metric with 80% power."""
    found = []
    for row in latest_dt_rows(read_rows(project, ANALYSIS_RESULTS, like)):
        experiment = project.experiments.get(row["experiment_id"])
        if experiment is None or row["metric_name"] != metric or row["segment"] != "all":
            continue
        if row["method"] == experiment.method_in_force:
            relative = row["mde"] / abs(row["control_mean"]) if row["mde"] is not None and row["control_mean"] else None
            names = ("experiment_id", "variant_id", "dt", "control_n", "treatment_n")
            found.append({name: row[name] for name in names} | {"effect_abs": row["mde"], "effect_rel": relative})
    if not found:
        raise ContractViolation(
            f"no experiment has results for metric '{metric}' yet: `exp run {like or 'EXPERIMENT'}`"
        )
    return found


def _show_detectable(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    grid = Grid("experiment", "arm", "as of", "users (control, arm)", "smallest effect found", "relative", box=None)
    for row in rows:
        users = f"{row['control_n']}, {row['treatment_n']}"
        values = (row["experiment_id"], row["variant_id"], str(row["dt"]), users, number(row["effect_abs"]))
        grid.add_row(*values, number(row["effect_rel"], percent=True))
    console.print(grid)


def _record(plan: PowerPlan) -> dict[str, Any]:
    reduction = {"variance_reduction": plan.moments.variance_reduction}
    return asdict(plan) | {"moments": asdict(plan.moments) | reduction}


def _show_plan(plan: PowerPlan) -> None:
    m = plan.moments
    share = "" if plan.effect_rel is None else f", {100 * plan.effect_rel:+.4g}% of control's {m.level:.4g}"
    console.print(
        f"{m.metric}: an effect of {plan.effect_abs:+.4g} ({plan.scale}{share}), found with a chance of "
        f"{plan.power:.0%} by {plan.arms} equal arms at alpha {m.alpha:g}",
        markup=False,
    )
    console.print(
        f"from {m.experiment_id} as of {m.dt}: {m.users:,} users, {m.users_per_day:,.0f} new ones a day, "
        f"{m.with_value:.0%} with a value, covariates take {m.variance_reduction:.0%} off the variance",
        markup=False,
    )
    grid = Grid("interval", "users per arm", "users", "days", "days to the answer", "without covariates", box=None)
    for row in plan.horizons:
        numbers = (row.users_per_arm, row.users, row.days, row.days_to_answer, row.users_per_arm_plain)
        grid.add_row(NAMES[row.interval], *(f"{value:,}" for value in numbers))
    console.print(grid)
