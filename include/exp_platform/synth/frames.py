"""The four raw datasets of one generation as Spark frames, before they are written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from exp_platform.schemas import event_time_column
from exp_platform.synth import draws as events
from exp_platform.synth.generation import SynthPlan
from exp_platform.synth.users import users as make_users

Dataset = Literal["assignments", "exposures", "outcomes", "attributes"]


@dataclass(frozen=True)
class Frames:
    """The datasets: contract columns, folder label `dt`, and underscored columns for faults and true effects only."""

    assignments: DataFrame | None  # None: the team keeps no assignment log
    exposures: DataFrame
    outcomes: DataFrame
    attributes: DataFrame

    def present(self) -> dict[str, DataFrame]:
        """Name -> frame, for the datasets that exist."""
        return {name: frame for name, frame in vars(self).items() if frame is not None}

    def change(self, dataset: str, frame: DataFrame) -> Frames:
        """The frames with one dataset replaced; a dataset that does not exist is not added."""
        return self if getattr(self, dataset) is None else replace(self, **{dataset: frame})

    def keep(self, condition: Column) -> Frames:
        """The frames with only those rows of every dataset for which the condition holds."""
        kept: dict[str, Any] = {name: frame.where(condition) for name, frame in self.present().items()}
        return replace(self, **kept)


@dataclass(frozen=True)
class DrawnWorld:
    """All data drawn for one plan: the users, the outcomes of both worlds, and the datasets that are written."""

    users: DataFrame
    candidates: DataFrame
    frames: Frames


def draw(spark: SparkSession, plan: SynthPlan) -> DrawnWorld:
    """The healthy data of a plan, as frames that Spark has not computed yet."""
    users = make_users(spark, plan)
    candidates = events.outcome_candidates(users, plan)
    logged = plan.experiment.assignment_source == "assignments"
    frames = Frames(
        assignments=with_dt(events.assignments(users, plan), "assignments") if logged else None,
        exposures=with_dt(events.exposures(users, plan), "exposures"),
        outcomes=with_dt(events.outcomes(candidates, plan), "outcomes"),
        attributes=with_dt(events.attributes(users, plan), "attributes"),
    )
    return DrawnWorld(users, candidates, frames)


def with_dt(frame: DataFrame, dataset: str) -> DataFrame:
    """Add `dt`, the label of the folder that an event is written to: the date of its event time."""
    return frame.withColumn("dt", F.to_date(event_time_column(dataset)))
