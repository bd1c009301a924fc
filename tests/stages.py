"""Open a stage in a test: a run from a few values, a session that exists, a log that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.context import StageContext, open_stage
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME, Output, Stage
from exp_platform.pipelines.run import Options, Run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from exp_platform.lake.row_audit import Audit


class Unrestricted(Stage):
    """A stage that may read every table, and loads those that it declares when it starts."""

    def require_read(self, table: str) -> None:
        assert table in TABLES


def reading_all(name: str) -> Stage:
    """The stage, allowed to read every table."""
    stage = BY_NAME[name]
    return Unrestricted(**{each.name: getattr(stage, each.name) for each in fields(stage)})


def made_of(name: str, *tables: str) -> Stage:
    """The stage with each of its outputs made of these tables, and allowed to read every one."""
    outputs = tuple(Output(output.table, tables) for output in BY_NAME[name].outputs)
    return replace(reading_all(name), outputs=outputs)


@contextmanager
def opened(
    project: Project,
    experiment_id: str,
    dt: date,
    run_id: str,
    stage: str | Stage,
    *,
    spark: SparkSession | None = None,
    audit: Audit | None = None,
    log: Callable[[str], None] = lambda _: None,
    options: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Iterator[StageContext]:
    """The context of one stage."""
    run = Run(project, experiment_id, dt, run_id, Options(**(options or {})))
    with open_stage(
        run,
        reading_all(stage) if isinstance(stage, str) else stage,
        session=Session.given(spark) if spark is not None else None,
        audit=(lambda _: audit) if audit is not None else None,
        say=log,
        now=now,
    ) as ctx:
        yield ctx
