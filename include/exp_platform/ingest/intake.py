"""The terms on which events of one dataset come in: its owner, an experiment or a stream, and the rules of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Stream
from exp_platform.config.models.stream import stream_name
from exp_platform.ingest.dataset_sources import EVENT_ID, DatasetSource, DatasetSources, mapped_source, sources_of
from exp_platform.schemas import DATASETS, load_schema, stream_columns, stream_schema


@dataclass(frozen=True)
class StreamSource(DatasetSource):
    """The source of a stream's events; those of outcomes and attributes have no experiment id."""

    @property
    def types(self) -> dict[str, str]:
        """Contract column -> its declared type; event_id is one of them where it is mapped."""
        has_id = EVENT_ID in self.columns or EVENT_ID in self.constants
        return stream_columns(self.dataset) | ({EVENT_ID: "string"} if has_id else {})


@dataclass(frozen=True)
class Intake:
    """One dataset of one owner, with the rules by which its rows are judged."""

    owner: str  # experiment id, or `stream.<name>`
    source: DatasetSources
    table: str  # where the distinct valid events go
    schema: Mapping[str, Any]
    experiment_id: str | None  # rows of another experiment are refused; None: the rows carry ids of many, or none
    variants: tuple[str, ...] | None  # rows of another arm are refused; None: each experiment that reads judges them
    is_required: bool  # a run without such events is blocked
    max_bad_fraction: float
    late_days: int
    delivers: tuple[str, ...] = ()  # names that a stream delivers; whoever reads it may need any of them

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.source.dataset

    @property
    def columns(self) -> list[str]:
        """The columns of the contract that the table has, those included that only some sources have."""
        return list(self.schema["properties"])

    @property
    def constants(self) -> dict[str, str]:
        """Column -> value of every row, for a column of the table that no event carries."""
        name = stream_name(self.owner)
        return {} if name is None else {"stream": name}


def intakes_of_experiment(project: Project, experiment: Experiment) -> tuple[Intake, ...]:
    """The intake of each dataset that the experiment does not read from streams."""
    return tuple(
        Intake(
            owner=experiment.experiment_id,
            source=sources_of(project, experiment, dataset),
            table=f"exp.{dataset}",
            schema=load_schema(dataset),
            experiment_id=experiment.experiment_id,
            variants=tuple(variant.id for variant in experiment.live_variants),
            is_required=is_required(experiment, dataset),
            max_bad_fraction=project.contracts_of(experiment).max_bad_fraction,
            late_days=project.late_arrival_days_of(experiment),
        )
        for dataset in DATASETS
        if dataset not in experiment.streams
    )


def intake_of_stream(project: Project, stream: Stream) -> Intake:
    """The intake of a stream's events."""
    late = stream.late_arrival_days
    return Intake(
        owner=stream.owner_id,
        source=DatasetSources(stream.kind, (_source_of_stream(project, stream),)),
        table=f"exp.stream_{stream.kind}",
        schema=stream_schema(stream.kind),
        experiment_id=None,
        variants=None,
        is_required=True,
        max_bad_fraction=(stream.contracts or project.profile.contracts).max_bad_fraction,
        late_days=project.profile.late_arrival_days if late is None else late,
        delivers=stream.delivered,
    )


def is_required(experiment: Experiment, dataset: str) -> bool:
    """True when the experiment cannot be analysed without the dataset."""
    if dataset == "assignments":
        return experiment.assignment_source == "assignments"
    if dataset == "exposures":
        return experiment.exposure_source == "exposures"
    return dataset != "attributes"


def _source_of_stream(project: Project, stream: Stream) -> StreamSource:
    mapped = mapped_source(project, stream.source, stream.kind)
    return StreamSource(**{field.name: getattr(mapped, field.name) for field in fields(mapped)})
