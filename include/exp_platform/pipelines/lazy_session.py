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
    """A stage that was tried without a session has asked for one: not all of its tables can be reused."""


@dataclass(frozen=True)
class Session:
    """A function that builds a Spark session at its first call and returns the same one at every later call."""

    build: Callable[[], SparkSession]
    refused_for: str = ""  # name of a stage that is declared to need no session
    _built: list[SparkSession] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, run: Run, title: str = "") -> Session:
        """The session of a run; its name in Spark's UI is the title, the experiment and the dt."""

        def build() -> SparkSession:
            from exp_platform.quality.gx import preload
            from exp_platform.spark.session import build_spark_session

            preload()  # imports in the background: Python idles for seconds while the JVM starts
            return build_spark_session(f"{title} {run.experiment_id} {run.dt}".strip(), run.project)

        return cls(build)

    @classmethod
    def given(cls, spark: SparkSession) -> Session:
        """A session that exists already, such as that of a notebook; from now on its dates are those of UTC."""

        def in_utc() -> SparkSession:
            spark.conf.set("spark.sql.session.timeZone", "UTC")
            return spark

        return cls(in_utc)

    @classmethod
    def none(cls) -> Session:
        """A session that can't be had: a stage that asks for it ends with SessionNeeded."""

        def refuse() -> SparkSession:
            raise SessionNeeded

        return cls(refuse)

    def within(self, stage: Stage) -> Session:
        """The session for one stage; a stage that is declared to need none gets an error when it asks."""
        return self if stage.needs_spark else replace(self, refused_for=stage.name)

    def __call__(self) -> SparkSession:
        """The Spark session; the first call builds it."""
        if self.refused_for:
            raise RuntimeError(
                f"{self.refused_for} asked for a Spark session, but its entry in pipelines/registry.py says "
                "needs_spark=False; compute without a session or change the entry"
            )
        if not self._built:
            self._built.append(self.build())
        return self._built[0]
