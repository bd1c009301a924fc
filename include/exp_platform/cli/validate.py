"""`exp validate`: every mistake in the configuration, in one pass and without a Spark application."""

from __future__ import annotations

import typer

from exp_platform.cli import CONFIG, app, console, for_people, problems
from exp_platform.config.load import Project, load_project
from exp_platform.config.streams import unread
from exp_platform.errors import ConfigError


@app.command()
@for_people
def validate(config: str | None = CONFIG) -> None:
    """Check every metric, policy, stream and experiment, whether in use or not; with a lake also what it knows of them.

    A definition that has changed under its version is refused. So is an expression that Spark cannot parse, and a
    metric's source or a dimension that the mapping or the lake has never seen. Margins that the planned users can
    seldom show get a warning.
    """
    project = load_project(config)
    refused = [*project.refusals(), *_version_conflicts(project), *_expression_problems(project), *_unseen(project)]
    for sentence in refused:
        problems.print(sentence, markup=False, soft_wrap=True)
    console.print(
        f"{len(project.metrics)} metrics, "
        + (f"{len(project.streams)} streams, " if project.streams else "")
        + f"{len(project.experiments)} experiments are valid"
        + "".join(
            f", {len(broken)} {kind} refused"
            for kind, broken in (
                ("metrics", project.broken_metrics),
                ("streams", project.broken_streams),
                ("experiments", project.broken),
            )
            if broken
        )
    )
    for sentence in [*unread(project.streams, project.experiments), *_margin_warnings(project)]:
        problems.print(f"warning: {sentence}", markup=False, soft_wrap=True)
    if refused:
        raise typer.Exit(ConfigError.exit_code)


def _version_conflicts(project: Project) -> list[str]:
    """Metrics whose definition has changed under their version; none where no lake answers."""
    from exp_platform.ledger.metric_versions import conflicts, known_versions

    try:
        known = known_versions(project, project.metrics)
    except Exception:  # configuration is checked without a lake as well, whatever keeps it from being read
        return []
    return conflicts(project.metrics.values(), known, project.profile.metrics_dir)


def _expression_problems(project: Project) -> list[str]:
    """Expressions of mapped sources that Spark cannot parse; Java starts only where a source has an expression."""
    from exp_platform.ingest.parse import expression_problems

    return expression_problems(project)


def _unseen(project: Project) -> list[str]:
    """Metric sources and dimensions that neither the mapping nor the lake has ever seen."""
    from exp_platform.operations.unseen import unseen_in_lake, unseen_in_mapping

    found = unseen_in_mapping(project)
    try:
        return [*found, *unseen_in_lake(project)]
    except Exception:  # as above
        return found


def _margin_warnings(project: Project) -> list[str]:
    """Guardrails whose margin the planned users can seldom show; none where no lake answers."""
    from exp_platform.operations.planning_moments import margin_warnings

    try:
        return list(margin_warnings(project))
    except Exception:  # as above
        return []
