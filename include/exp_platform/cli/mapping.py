"""`exp map`: rows of an experiment's sources beside the events that they become, before anything is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from exp_platform.cli import CONFIG, app, console, for_people, problems
from exp_platform.config.load import load_project
from exp_platform.config.words import suggest
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.schemas import DATASETS

if TYPE_CHECKING:
    from exp_platform.ingest.preview import Mapped, Preview

_ROWS = typer.Option(5, "--rows", min=1, max=100, help="Events to show of each source, and refused ones besides.")
_DATASET = typer.Option(None, "--dataset", help="Only this dataset; left out: every dataset that is mapped.")


@app.command("map")
@for_people
def map_sources(
    experiment_id: str, rows: int = _ROWS, dataset: str | None = _DATASET, config: str | None = CONFIG
) -> None:
    """Show rows of each source beside the events that they become, and what would be refused; nothing is written."""
    if dataset is not None and dataset not in DATASETS:
        raise ConfigError(f"--dataset: found {dataset!r}{suggest(dataset, DATASETS)}; allowed: {', '.join(DATASETS)}")
    project = load_project(config)
    experiment = project.experiment(experiment_id)
    wanted = [dataset] if dataset else [name for name in DATASETS if experiment.sources_of(name)]
    if not wanted:
        raise ConfigError(
            f"{experiment_id}: no dataset is mapped, all of them are read from {project.raw_folder(experiment_id)}; "
            "name one with --dataset to see its rows, or map one under `sources:`"
        )
    from exp_platform.ingest.preview import preview
    from exp_platform.ingest.source import sources_of
    from exp_platform.spark.session import build_spark_session

    spark = build_spark_session(f"map {experiment_id}", project)
    live = [variant.id for variant in experiment.live_variants]
    refused = []
    try:
        for name in wanted:
            for source in sources_of(project, experiment, name).parts:
                found = preview(spark, project, source, experiment_id, live, rows)
                _print(found)
                refused += [problem.sentence for problem in found.problems]
    finally:
        spark.stop()
    for sentence in refused:
        problems.print(sentence, markup=False, soft_wrap=True)
    if refused:
        raise typer.Exit(ContractViolation.exit_code)


def _print(found: Preview) -> None:
    source = found.source
    _line(f"{source.dataset}: {source.format} at {source.location}: read {found.files_read} of {found.files} files")
    if found.problems:
        return
    for one in found.events:
        _pair(one)
    for one in found.refused_events:
        _pair(one)
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in sorted(found.refused.items(), key=lambda item: -item[1]))
    _line(f"  {found.rows:,} events in these files; refused: {by_rule or 'none'}\n")


def _pair(one: Mapped) -> None:
    _line(f"  row      {one.source_row}")
    event = {name: value for name, value in one.event.items() if name != "corrupt_line"}
    _line(f"  event    {json.dumps(event, ensure_ascii=False)}")
    if one.broken:
        _line(f"  refused  {', '.join(one.broken)}")


def _line(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
