"""The source of a dataset's events: its folder in the raw zone, or the source that a team has mapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyarrow import fs

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment
from exp_platform.ingest.files import SUFFIXES, Format, RawFile, list_files
from exp_platform.lake.raw_zone import filesystem
from exp_platform.schemas import contract_columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class DatasetSource:
    """The source of one dataset of one experiment: format, location, and mapping to the contract's columns."""

    dataset: str
    format: Format
    location: str
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    is_mapped: bool = False

    @property
    def types(self) -> dict[str, str]:
        """Contract column -> its declared type."""
        return contract_columns(self.dataset)

    def needed_columns(self, there: Sequence[str]) -> list[str] | None:
        """The columns of the source that must be read; None for all, because an expression may name any column."""
        if self.where is not None:
            return None
        wanted = [self.columns.get(c, c) for c in self.types if c not in self.constants]
        is_expression = any(text not in there for c, text in self.columns.items() if c not in self.constants)
        return None if is_expression else wanted


def source_of(project: Project, experiment: Experiment, dataset: str) -> DatasetSource:
    """The mapped source of a dataset, else its folder in the raw zone."""
    mapped = experiment.sources.get(dataset)  # type: ignore[call-overload]
    if mapped is None:
        location = f"{project.raw_folder(experiment.experiment_id)}/{dataset}"
        return DatasetSource(dataset, "parquet", spark_url(location))
    location = mapped.location if mapped.format == "iceberg" else spark_url(project.resolve(mapped.location))
    return DatasetSource(
        dataset, mapped.format, location, mapped.columns, mapped.constants, mapped.where, is_mapped=True
    )


def list_source(project: Project, source: DatasetSource, session: Callable[[], SparkSession]) -> list[RawFile]:
    """The present files of a source; an Iceberg table counts as one file that changes with its snapshot."""
    if source.format == "iceberg":
        return _iceberg_file(session(), source.location)
    files, folder = filesystem(project, source.location)
    return list_files(files, folder, source.location, SUFFIXES[source.format])


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
        head = spark.sql(f"SELECT snapshot_id FROM {name}.refs WHERE name = 'main'").first()
        size = spark.sql(f"SELECT coalesce(sum(file_size_in_bytes), 0) AS bytes FROM {name}.files").first()
    except AnalysisException:
        return []
    if head is None or size is None:
        return []
    return [RawFile(name, int(size["bytes"]), str(head["snapshot_id"]))]


def spark_url(location: str) -> str:
    """The location with the scheme s3a, by which Spark reads S3-compatible stores."""
    return location.replace("s3://", "s3a://", 1) if location.startswith("s3://") else location
