"""Where a team's own events are, and how their rows become events of a contract.

One source is files or a table with one mapping. It names no experiment, so that whoever owns events (an experiment, or
a log that many experiments read) describes them in one way.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from exp_platform.config.models.base import Model

Dataset = Literal["assignments", "exposures", "outcomes", "attributes"]
BOTH: Literal["assignments_and_exposures"] = "assignments_and_exposures"
SourceKey = Literal["assignments", "exposures", "outcomes", "attributes", "assignments_and_exposures"]
TIME = "time"  # in a log that is both: the time of the assignment and of the exposure
EPOCHS = ("epoch_seconds", "epoch_millis", "epoch_micros")


class MetricOfRow(Model):
    """One metric that a row of the source may feed."""

    name: str = Field(min_length=1, description="metric_name of the events.")
    value: str = Field(default="1", description="Source column, or a Spark SQL expression; left out: 1.")
    where: str | None = Field(
        default=None,
        description=(
            "Spark SQL condition: only these rows feed the metric, and a null value is refused; left out: every row "
            "that has a value."
        ),
    )


class Source(Model):
    """Where a team's own events are, and how their columns map to the contract's."""

    added_later: ClassVar[frozenset[str]] = frozenset(
        {"delimiter", "header", "timestamp_format", "timezone", "explode", "aliases", "metrics"}
    )

    format: Literal["parquet", "csv", "json", "iceberg"] = Field(
        description="Format of the files (json: one object a line), or an Iceberg table."
    )
    location: str = Field(description="A folder, a file or a URL; for iceberg a table such as analytics.orders.")
    columns: dict[str, str] = Field(
        default={},
        description="Contract column: source column, or a Spark SQL expression; one left out keeps its name.",
    )
    constants: dict[str, str] = Field(default={}, description="Contract column: one value for every row.")
    where: str | None = Field(
        default=None, description="Spark SQL condition: only these rows of the source are events of the dataset."
    )
    delimiter: str = Field(default=",", min_length=1, description="Of csv: what stands between two fields.")
    header: bool = Field(
        default=True, description="Of csv: the first line has the names; false: they are _c0, _c1 and so on."
    )
    timestamp_format: str | None = Field(
        default=None,
        description=(
            "How times are written: a pattern such as dd.MM.yyyy HH:mm:ss, or epoch_seconds, epoch_millis, "
            "epoch_micros; left out: ISO 8601."
        ),
    )
    timezone: str | None = Field(
        default=None, description="Zone of times that name none, such as Europe/Berlin; left out: UTC."
    )
    explode: str | None = Field(
        default=None,
        description="An array of events in each row: each element becomes a row, and expressions know it as `item`.",
    )
    aliases: dict[str, str] = Field(
        default={}, description="Name of an arm in the source: its id in the registry; one left out keeps its name."
    )
    metrics: tuple[MetricOfRow, ...] = Field(
        default=(), description="Of outcomes: the metrics that one row feeds, instead of metric_name and value."
    )


def _form(value: Any) -> str:
    return "(many)" if isinstance(value, list | tuple) else "(one)"


# The tags stand in brackets, so that a refusal can leave them out of the key that it names.
Sources = Annotated[
    Annotated[Source, Tag("(one)")] | Annotated[tuple[Source, ...], Tag("(many)")],
    Discriminator(_form),
]


def listed(sources: Source | tuple[Source, ...] | None) -> tuple[Source, ...]:
    """One source or several, as several."""
    if sources is None:
        return ()
    return (sources,) if isinstance(sources, Source) else sources


def of_dataset(source: Source, dataset: str) -> Source:
    """A source of a log that is both, as the source of one of its datasets.

    `time` becomes the dataset's own time; a column or constant of the other dataset alone is left out.
    """
    own, other = {
        "assignments": ("assignment_ts", "exposure_ts"),
        "exposures": ("exposure_ts", "assignment_ts"),
    }[dataset]
    columns = {name: text for name, text in source.columns.items() if name not in (TIME, other)}
    if TIME in source.columns:
        columns.setdefault(own, source.columns[TIME])
    constants = {name: text for name, text in source.constants.items() if name != other}
    return source.model_copy(update={"columns": columns, "constants": constants})
