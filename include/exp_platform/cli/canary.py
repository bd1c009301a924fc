"""Commands that check the platform itself: canary and promote."""

from __future__ import annotations

import typer

from exp_platform.cli import CONFIG, app, console, for_people


@app.command()
@for_people
def canary(
    experiment_id: str = typer.Argument(None, help="Left out: every experiment that has a decision."),
    cells: int = typer.Option(20, min=1, help="Metrics times arms to compute again, for each experiment."),
    config: str | None = CONFIG,
) -> None:
    """Compute published numbers once more from the raw files by other code; exit 1 when one differs."""
    from exp_platform.config.load import load_project
    from exp_platform.second_opinion.check import check_experiment, published_experiments

    project = load_project(config)
    wanted = [experiment_id] if experiment_id else published_experiments(project)
    if not wanted:
        console.print("no experiment has a published decision yet", markup=False)
    found = [
        check_experiment(project, one, cells=cells, say=lambda line: console.print(line, markup=False, soft_wrap=True))
        for one in wanted
    ]
    raise typer.Exit(1 if any(one.opinion.differ for one in found) else 0)


@app.command()
@for_people
def promote(
    experiments: int = typer.Option(3, min=1, help="How many experiments' latest runs are computed again."),
    config: str | None = CONFIG,
) -> None:
    """Run this code on the pinned inputs of published runs, beside their numbers; exit 1 when one differs."""
    from exp_platform.config.load import load_project
    from exp_platform.operations.promote import try_code

    trial = try_code(load_project(config), experiments)
    console.print(trial.text(), markup=False, soft_wrap=True)
    raise typer.Exit(0 if trial.may_publish else 1)
