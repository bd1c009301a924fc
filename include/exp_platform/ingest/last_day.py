"""The last day with an event in an experiment's mapped sources and streams: the default of dt when none is given."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment
from exp_platform.ingest.dataset_sources import DatasetSource, sources_of
from exp_platform.ingest.intake import intake_of_stream
from exp_platform.schemas import DATASETS, LOGS, event_time_column

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def last_mapped_day(project: Project, experiment: Experiment, before: datetime) -> date | None:
    """The day of the last event before an instant, in mapped sources and streams; None where there are none of both.

    Spark is started where it does not run, and stopped again.
    """
    if not any(_parts(project, experiment, dataset) for dataset in DATASETS):
        return None
    from pyspark.sql import SparkSession

    from exp_platform.spark.session import build_spark_session

    running = SparkSession.getActiveSession()
    spark = running or build_spark_session(f"last event day {experiment.experiment_id}", project)
    try:
        return last_event_day(spark, project, experiment, before)
    finally:
        if running is None:
            spark.stop()


def last_event_day(spark: SparkSession, project: Project, experiment: Experiment, before: datetime) -> date | None:
    """The day of the last event before an instant; None without one, and where ingest will refuse the sources."""
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    from exp_platform.ingest.dataset import read_all

    days = []
    for dataset in DATASETS:
        parts = _parts(project, experiment, dataset)
        if not parts:
            continue
        try:
            frame = read_all(spark, project, parts).frame
            if frame is None:
                continue
            if dataset in LOGS:  # a stream's log holds the events of others too
                frame = frame.where(F.col("experiment_id") == F.lit(experiment.experiment_id))
            micros = F.unix_micros(event_time_column(dataset))
            last = frame.agg(F.max(F.when(micros < F.lit(_micros(before)), micros)).alias("last")).first()
        except PySparkException:
            continue  # ingest reads the same files and says what is wrong with them
        if last is not None and last["last"] is not None:
            days.append(datetime.fromtimestamp(last["last"] / 1e6, UTC).date())
    return max(days, default=None)


def _parts(project: Project, experiment: Experiment, dataset: str) -> tuple[DatasetSource, ...]:
    """The sources of a dataset that are mapped or streams; none where it lies in the raw zone."""
    streams = experiment.streams.get(dataset, ())  # type: ignore[call-overload]
    if streams:
        return tuple(part for name in streams for part in intake_of_stream(project, project.stream(name)).source.parts)
    return sources_of(project, experiment, dataset).parts if experiment.sources_of(dataset) else ()


def _micros(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)
