"""`exp map`: rows of a source beside the events that they become, before anything is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from exp_platform.cli import CONFIG, app, console, for_people, problems
from exp_platform.config.load import Project, load_project
from exp_platform.config.words import suggest
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.schemas import DATASETS

if TYPE_CHECKING:
    from exp_platform.ingest.intake import Intake
    from exp_platform.ingest.preview import Mapped, Preview

_ROWS = typer.Option(5, "--rows", min=1, max=100, help="Events to show of each source, and refused ones besides.")
_NAME = typer.Argument(help="Id of an experiment, or name of a stream.")
_DATASET = typer.Option(None, "--dataset", help="Only this dataset; left out: every dataset that is mapped.")


@app.command("map")
@for_people
def map_sources(
    name: str = _NAME, rows: int = _ROWS, dataset: str | None = _DATASET, config: str | None = CONFIG
) -> None:
    """Show rows of each source beside the events that they become, and what would be refused; nothing is written."""
    if dataset is not None and dataset not in DATASETS:
        raise ConfigError(f"--dataset: found {dataset!r}{suggest(dataset, DATASETS)}; allowed: {', '.join(DATASETS)}")
    project = load_project(config)
    intakes = _intakes(project, name, dataset)
    if not intakes:
        raise ConfigError(
            f"{name}: no dataset is mapped, all of them are read from {project.raw_folder(name)}; "
            "name one with --dataset to see its rows, or map one under `sources:`"
        )
    from exp_platform.ingest.preview import preview
    from exp_platform.spark.session import build_spark_session

    spark = build_spark_session(f"map {name}", project)
    refused = []
    try:
        for intake in intakes:
            for source in intake.source.parts:
                found = preview(spark, project, intake, source, rows)
                _print(found)
                refused += [problem.sentence for problem in found.problems]
    finally:
        spark.stop()
    for sentence in refused:
        problems.print(sentence, markup=False, soft_wrap=True)
    if refused:
        raise typer.Exit(ContractViolation.exit_code)


def _intakes(project: Project, name: str, dataset: str | None) -> list[Intake]:
    """The intake of a stream; of an experiment those of its mapped datasets, of the one named, and of its streams."""
    from exp_platform.ingest.intake import intake_of_stream, intakes_of_experiment

    if name not in project.experiments and (name in project.streams or name in project.broken_streams):
        return [intake_of_stream(project, project.stream(name))]
    experiment = project.experiment(name)
    own = intakes_of_experiment(project, experiment)
    read = [stream for names in experiment.streams.values() for stream in names]
    found = [one for one in own if dataset == one.dataset or experiment.sources_of(one.dataset)]
    found += [intake_of_stream(project, project.stream(stream)) for stream in read]
    return [one for one in found if dataset in (None, one.dataset)]


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
