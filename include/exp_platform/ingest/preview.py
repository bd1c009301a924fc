"""Rows of a source beside the events that they become, and what a contract would refuse: nothing is written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from exp_platform.config.load import Project
from exp_platform.ingest.dataset import read_source
from exp_platform.ingest.dataset_sources import DatasetSource, list_source
from exp_platform.ingest.diagnose import failing_expression
from exp_platform.ingest.intake import Intake
from exp_platform.ingest.problems import Problem
from exp_platform.ingest.quarantine import row_fields
from exp_platform.ingest.result import SHOWN
from exp_platform.ingest.row_rules import row_rules

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

FILES_READ = 3


@dataclass(frozen=True)
class Mapped:
    """One row of the source as it was written, its event, and the rules that the event breaks."""

    source_row: str
    event: dict[str, Any]
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """The first files of one source: some events, some refused ones, and how many there are."""

    source: DatasetSource
    files: int
    files_read: int
    rows: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # rule -> events that break it
    events: tuple[Mapped, ...] = ()
    refused_events: tuple[Mapped, ...] = ()
    problems: tuple[Problem, ...] = ()


def preview(
    spark: SparkSession,
    project: Project,
    intake: Intake,
    source: DatasetSource,
    rows: int,
) -> Preview:
    """Read the first files of one source of an intake and judge each of their events as ingest would."""
    listed = list_source(project, source, lambda: spark)
    files = listed[:FILES_READ]
    try:
        result = read_source(spark, project, source, files, show=True)
        if result.frame is None or SHOWN not in result.frame.columns:
            return Preview(source, len(listed), len(files), problems=tuple(result.problems))
        rules = row_rules(intake.schema, intake.experiment_id, intake.variants, result.frame.columns)
        words = F.array(*(F.when(condition, F.lit(name)) for name, condition in rules.items()))
        broken = F.filter(words, lambda name: name.isNotNull())
        shown = _shown(result.frame, source, broken)
        counts = result.frame.agg(
            F.count(F.lit(1)).alias("rows"), *(F.count_if(condition).alias(name) for name, condition in rules.items())
        ).first()
        assert counts is not None
        good = shown.where(F.size("broken") == 0).limit(rows).collect()
        bad = shown.where(F.size("broken") > 0).limit(rows).collect() if rows else []
    except PySparkException:
        problem = failing_expression(spark, project, [(source, {file.path for file in files})], files)
        if problem is None:
            raise
        return Preview(source, len(listed), len(files), problems=(problem,))
    return Preview(
        source,
        len(listed),
        len(files),
        counts["rows"],
        {name: counts[name] for name in rules if counts[name]},
        tuple(map(_mapped, good)),
        tuple(map(_mapped, bad)),
    )


def _shown(frame: DataFrame, source: DatasetSource, broken: Column) -> DataFrame:
    event = F.to_json(F.struct(*row_fields(source.types, frame.columns)), {"ignoreNullFields": "false"})
    return frame.select(F.col(SHOWN).alias("source_row"), event.alias("event"), broken.alias("broken"))


def _mapped(row: Any) -> Mapped:
    return Mapped(row["source_row"], json.loads(row["event"]), tuple(row["broken"]))
