"""The sources of a dataset's events: its folder in the raw zone, or those that a team has mapped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, MetricOfRow, Source
from exp_platform.errors import ConfigError
from exp_platform.ingest.raw_files import SUFFIXES, Format, RawFile, list_files
from exp_platform.lake.raw_zone import filesystem, require_bucket
from exp_platform.schemas import contract_columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EVENT_ID = "event_id"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class DatasetSource:
    """One source: format, location, and the mapping of its rows to events of a contract. It names no experiment."""

    dataset: str
    format: Format
    location: str
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    is_mapped: bool = False
    delimiter: str = ","
    header: bool = True
    timestamp_format: str | None = None
    timezone: str | None = None
    explode: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[MetricOfRow, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)  # column -> value where the source has no such column

    @property
    def types(self) -> dict[str, str]:
        """Contract column -> its declared type; event_id is one of them where it is mapped."""
        columns = contract_columns(self.dataset)
        has_id = EVENT_ID in self.columns or EVENT_ID in self.constants
        return columns | ({EVENT_ID: "string"} if has_id else {})

    @property
    def texts(self) -> dict[str, str]:
        """Key of the mapping -> its column or expression, for every one that it has, in the order of their work."""
        found = {name: text for name in ("explode", "where") if (text := getattr(self, name)) is not None}
        found |= {f"columns.{name}": text for name, text in self.columns.items() if name not in self.constants}
        for i, metric in enumerate(self.metrics):
            found[f"metrics.{i}.value"] = metric.value
            if metric.where is not None:
                found[f"metrics.{i}.where"] = metric.where
        return found

    @property
    def own_names(self) -> tuple[str, ...]:
        """Contract columns that are taken from the source column of the same name."""
        given = {*self.columns, *self.constants, *(("metric_name", "value") if self.metrics else ())}
        return tuple(column for column in self.types if column not in given)

    @property
    def keeps_rows(self) -> bool:
        """True when every row of the source is one row of the dataset."""
        return self.where is None and self.explode is None and not self.metrics

    @property
    def rules(self) -> list[Any]:
        """The parts of the mapping that decide how rows are read; those at their default are left out."""
        later = (self.delimiter, self.header, self.timestamp_format, self.timezone, self.explode, dict(self.aliases))
        metrics = [metric.model_dump() for metric in self.metrics]
        more = [later, metrics] if (*later, metrics) != (",", True, None, None, None, {}, []) else []
        return [self.format, self.where or "", dict(self.columns), dict(self.constants), *more]

    def needed_columns(self, there: Sequence[str]) -> list[str] | None:
        """The columns of the source that must be read; None for all, because an expression may name any column."""
        if not self.keeps_rows:
            return None
        wanted = [self.columns.get(c, c) for c in self.types if c not in self.constants]
        is_expression = any(text not in there for c, text in self.columns.items() if c not in self.constants)
        return None if is_expression else wanted

    def mentions(self, name: str) -> bool:
        """True when the mapping may read a column of this name."""
        word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        return name in self.own_names or any(word.search(text) for text in self.texts.values())

    def folder_keys(self, path: str) -> dict[str, str | None]:
        """The keys that the folders of a file spell as `name=value`, below the location, if the mapping reads them.

        >>> DatasetSource("outcomes", "csv", "/raw", where="kind = 'a'").folder_keys("/raw/kind=a%20b/dt=1/x.csv")
        {'kind': 'a b'}
        """
        if not self.is_mapped and self.keeps_rows:
            return {}
        folders = path.removeprefix(self.location.rstrip("/")).strip("/").split("/")[:-1]
        pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
        read = [(name, value) for name, value in pairs if name and self.mentions(name)]
        return {name: None if value == _NO_VALUE else unquote(value) for name, value in read}


@dataclass(frozen=True)
class DatasetSources:
    """All sources of one dataset; their events are one set of events."""

    dataset: str
    parts: tuple[DatasetSource, ...]

    @property
    def location(self) -> str:
        """Where the events are, as one text for people."""
        return ", ".join(dict.fromkeys(part.location for part in self.parts))

    @property
    def types(self) -> dict[str, str]:
        """Contract column -> its type; event_id is one of them when any source has it."""
        types: dict[str, str] = {}
        for part in self.parts:
            types |= part.types
        return types

    @property
    def rules(self) -> list[Any]:
        """The parts of all mappings that decide how rows are read."""
        return self.parts[0].rules if len(self.parts) == 1 else [part.rules for part in self.parts]


def sources_of(project: Project, experiment: Experiment, dataset: str) -> DatasetSources:
    """The mapped sources of a dataset, else its folder in the raw zone."""
    mapped = experiment.sources_of(dataset)
    if not mapped:
        location = f"{project.raw_folder(experiment.experiment_id)}/{dataset}"
        return DatasetSources(dataset, (DatasetSource(dataset, "parquet", spark_url(location)),))
    defaults = {"experiment_id": experiment.experiment_id}
    return DatasetSources(dataset, tuple(mapped_source(project, source, dataset, defaults) for source in mapped))


def mapped_source(
    project: Project, source: Source, dataset: str, defaults: Mapping[str, str] | None = None
) -> DatasetSource:
    """One configured source with its whole location; `defaults` fill columns that neither it nor its mapping has."""
    location = source.location if source.format == "iceberg" else spark_url(project.resolve(source.location))
    settings = {name: getattr(source, name) for name in type(source).model_fields if name != "location"}
    fill = {"unit": "user", **(defaults or {})}
    types = contract_columns(dataset)
    return DatasetSource(
        dataset=dataset,
        location=location,
        is_mapped=True,
        defaults={name: value for name, value in fill.items() if name in types},
        **settings,
    )


def list_source(project: Project, source: DatasetSource, session: Callable[[], SparkSession]) -> list[RawFile]:
    """The present files of a source; an Iceberg table counts as one file that changes with its snapshot."""
    if source.format == "iceberg":
        return _iceberg_file(session(), source.location)
    try:
        files, folder = filesystem(project, source.location)
    except (pa.ArrowException, ValueError) as error:
        raise ConfigError(
            f"sources.{source.dataset}.location: found {source.location!r}, which no file system answers for: "
            f"{str(error).splitlines()[0]}; give a folder, a file, or s3://bucket/prefix, which needs object_store in "
            "the profile"
        ) from None
    found = list_files(files, folder, source.location, SUFFIXES[source.format])
    if not found:
        require_bucket(project, source.location)
    return found


def opened(
    project: Project, source: DatasetSource, paths: Sequence[str]
) -> tuple[fs.FileSystem, list[tuple[str, str]]]:
    """The file system of a source, and each path twice: as people see it, and as that file system names it."""
    files, folder = filesystem(project, source.location)
    shown = source.location.rstrip("/")
    return files, [(path, folder.rstrip("/") + path.removeprefix(shown)) for path in paths]


def table_name(location: str) -> str:
    """An Iceberg table's name in Spark; a name without a catalog is in the platform's own catalog."""
    return location if location.count(".") > 1 else f"iceberg.{location}"


def _iceberg_file(spark: SparkSession, location: str) -> list[RawFile]:
    from pyspark.errors import AnalysisException

    name = table_name(location)
    try:
        head = spark.sql(f"SELECT snapshot_id FROM {name}.refs WHERE name = 'main'").first()  # noqa: S608  the mapping is the own SQL of the team
        size = spark.sql(f"SELECT coalesce(sum(file_size_in_bytes), 0) AS bytes FROM {name}.files").first()  # noqa: S608  the mapping is the own SQL of the team
    except AnalysisException:
        return []
    if head is None or size is None:
        return []
    return [RawFile(name, int(size["bytes"]), str(head["snapshot_id"]))]


def spark_url(location: str) -> str:
    """The location with the scheme s3a, by which Spark reads S3-compatible stores."""
    return location.replace("s3://", "s3a://", 1) if location.startswith("s3://") else location
