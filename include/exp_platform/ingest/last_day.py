"""The last day with an event in an experiment's mapped sources: the default of dt when none is given."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment
from exp_platform.schemas import DATASETS, event_time_column

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def last_mapped_day(project: Project, experiment: Experiment, before: datetime) -> date | None:
    """The day of the last event before an instant; starts Spark where a source is mapped, and stops what it started."""
    if not any(experiment.sources_of(dataset) for dataset in DATASETS):
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

    from exp_platform.ingest.read import read_all
    from exp_platform.ingest.source import sources_of

    days = []
    for dataset in DATASETS:
        if not experiment.sources_of(dataset):
            continue
        try:
            frame = read_all(spark, project, sources_of(project, experiment, dataset).parts).frame
            if frame is None:
                continue
            micros = F.unix_micros(event_time_column(dataset))
            last = frame.agg(F.max(F.when(micros < F.lit(_micros(before)), micros)).alias("last")).first()
        except PySparkException:
            continue  # ingest reads the same files and says what is wrong with them
        if last is not None and last["last"] is not None:
            days.append(datetime.fromtimestamp(last["last"] / 1e6, UTC).date())
    return max(days, default=None)


def _micros(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)
