"""A Spark session that is built when a stage first asks for it, once for all stages that share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SessionNeeded(Exception):
    """A stage that was tried without a session has asked for one: it cannot be answered by reuse alone."""


@dataclass(frozen=True)
class Session:
    """Builds a session at its first call and returns that one ever after."""

    build: Callable[[], SparkSession]
    refused_for: str = ""  # name of a stage that is declared as one without a session
    _built: list[SparkSession] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, run: Run, title: str = "") -> Session:
        """The session of a run, named in Spark's UI after the run and what it is for."""

        def build() -> SparkSession:
            from exp_platform.quality.gx import preload
            from exp_platform.spark.session import build_spark_session

            preload()  # a session's start leaves Python idle for seconds
            return build_spark_session(f"{title} {run.experiment_id} {run.dt}".strip(), run.project)

        return cls(build)

    @classmethod
    def given(cls, spark: SparkSession) -> Session:
        """A session that exists already."""
        return cls(lambda: spark)

    @classmethod
    def none(cls) -> Session:
        """No session: a stage that asks for one ends with SessionNeeded."""

        def refuse() -> SparkSession:
            raise SessionNeeded

        return cls(refuse)

    def within(self, stage: Stage) -> Session:
        """The session as a stage may use it: a stage that is declared to need none gets none."""
        return self if stage.needs_spark else replace(self, refused_for=stage.name)

    def __call__(self) -> SparkSession:
        """The session, built when first asked for."""
        if self.refused_for:
            raise RuntimeError(
                f"{self.refused_for} is declared as a stage without a session (pipelines/registry.py) and asked for one"
            )
        if not self._built:
            self._built.append(self.build())
        return self._built[0]
