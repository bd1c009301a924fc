"""The events of one dataset that an experiment reads from streams: which rows, at which names, since when.

A stage asks for `exp.outcomes` whether its experiment has events of its own or reads streams. In the second case the
reader goes to `exp.stream_outcomes`, and gives the rows in the columns of `exp.outcomes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, In, Or

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Metric
from exp_platform.config.models.stream import NAMED_BY
from exp_platform.config.streams import needed_names
from exp_platform.lake.changes import files_appended
from exp_platform.lake.rows import read_spark
from exp_platform.lake.tables import TABLES, Table
from exp_platform.schemas import LOGS, event_time_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

VOLUME_DAYS = timedelta(days=7)  # J2 counts the outcomes of the week before the start


@dataclass(frozen=True)
class StreamView:
    """The rows of a stream table that are one experiment's events of a dataset."""

    dataset: str
    experiment_id: str
    names: tuple[tuple[str, tuple[str, ...]], ...]  # stream -> what the experiment reads of it; nothing of a log
    variants: tuple[str, ...]  # the live arms: rows of a log with another arm are none of the experiment's events
    since: datetime | None  # no metric looks at an earlier event

    @property
    def own_table(self) -> str:
        """The table that would hold the events if they were the experiment's own."""
        return f"exp.{self.dataset}"

    @property
    def table(self) -> Table:
        """The table that holds them."""
        return TABLES[f"exp.stream_{self.dataset}"]

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams."""
        return tuple(stream for stream, _ in self.names)

    @property
    def owners(self) -> tuple[str, ...]:
        """The ids under which the table's history names the streams' commits."""
        return tuple(f"stream.{stream}" for stream in self.streams)

    def frame(self, session: SparkSession, snapshot_id: int) -> DataFrame:
        """The events at a snapshot, in the columns of the experiment's own table."""
        return self.rows(read_spark(session, self.table, snapshot_id, {}))

    def whole_streams(self, session: SparkSession, snapshot_id: int) -> DataFrame:
        """All rows of the streams, of whatever name and time: Iceberg tells their extremes from its metadata."""
        from pyspark.sql import functions as F

        return read_spark(session, self.table, snapshot_id, {}).where(F.col("stream").isin(*self.streams))

    def appended(self, session: SparkSession, since: int, until: int) -> DataFrame:
        """The events in files that were appended between two snapshots."""
        return self.rows(files_appended(session, self.table, since, until))

    def rows(self, stored: DataFrame) -> DataFrame:
        """The events among rows of the stream table, in the columns of the experiment's own table."""
        from pyspark.sql import functions as F

        if self.dataset not in LOGS:
            stored = stored.withColumn("experiment_id", F.lit(self.experiment_id))
        return stored.where(self.condition()).select(*TABLES[self.own_table].columns)

    def condition(self) -> Column:
        """True for the rows that are events of the experiment."""
        from pyspark.sql import functions as F

        if self.dataset in LOGS:
            return (
                F.col("stream").isin(*self.streams)
                & (F.col("experiment_id") == F.lit(self.experiment_id))
                & F.col("variant").isin(*self.variants)
            )
        named = F.col(NAMED_BY[self.dataset])
        of_streams = [(F.col("stream") == F.lit(stream)) & named.isin(*names) for stream, names in self.names]
        wanted = reduce(lambda a, b: a | b, of_streams)
        return wanted if self.since is None else wanted & (F.col(self.time) >= F.lit(self.since))

    def filter(self, *, any_variant: bool = False) -> BooleanExpression:
        """The condition for PyIceberg; with `any_variant` rows of unknown arms too."""
        if self.dataset in LOGS:
            terms: list[Any] = [In("stream", self.streams), EqualTo("experiment_id", self.experiment_id)]
            terms += [] if any_variant else [In("variant", self.variants)]
            return _all(terms)
        named = NAMED_BY[self.dataset]
        wanted = reduce(Or, [And(EqualTo("stream", stream), In(named, names)) for stream, names in self.names])
        return wanted if self.since is None else And(wanted, GreaterThanOrEqual(self.time, self.since.isoformat()))

    def any_time(self) -> BooleanExpression:
        """PyIceberg's condition for the names that the experiment reads, however early the event."""
        return replace(self, since=None).filter()

    def any_name(self) -> BooleanExpression:
        """PyIceberg's condition for every event of the streams, of names too that the experiment does not read."""
        return In("stream", self.streams)

    @property
    def time(self) -> str:
        """The column with the time of an event."""
        return event_time_column(self.dataset)


def stream_views(project: Project, experiment: Experiment) -> dict[str, StreamView]:
    """Own table -> view, for each dataset that the experiment reads from streams."""
    metrics = project.metrics_of(experiment)
    return {
        f"exp.{dataset}": StreamView(
            dataset=dataset,
            experiment_id=experiment.experiment_id,
            names=_names(project, experiment, dataset),
            variants=tuple(sorted(variant.id for variant in experiment.live_variants)),
            since=first_instant(experiment, metrics) if dataset == "outcomes" else None,
        )
        for dataset in experiment.streams
    }


def first_instant(experiment: Experiment, metrics: tuple[Metric, ...]) -> datetime:
    """The earliest time of an outcome that any metric, panel or check of the experiment can look at."""
    from exp_platform.metrics.values import micros
    from exp_platform.transforms.cohort_dates import reach
    from exp_platform.transforms.unit_partials import Layout

    start = experiment.start_ts
    looked_back = max(reach(Layout.of(metrics, experiment.end_ts), micros(start)), default=0)
    first = start - max(timedelta(microseconds=looked_back), VOLUME_DAYS)
    return first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _names(project: Project, experiment: Experiment, dataset: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each stream with those of its names that the experiment needs; a stream that it does not need has none."""
    needed = {name for _, name in needed_names(experiment, dataset, project.metrics)}
    streams = [project.stream(name) for name in sorted(experiment.streams[dataset])]  # type: ignore[index]
    return tuple((stream.name, tuple(sorted(needed & set(stream.delivered)))) for stream in streams)


def _all(terms: list[Any]) -> BooleanExpression:
    return reduce(And, terms)
