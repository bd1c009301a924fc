"""The timetable of a DAG that nobody schedules; Airflow finds it through the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.timetables.simple import NullTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import DataInterval
    from airflow.utils.types import DagRunType
    from pendulum import DateTime


class OnRequest(NullTimetable):
    """Never fires by itself: a person or another DAG starts each run.

    A run is about an experiment and a day, which are its parameters, and has no logical date. Airflow calls such runs
    partitioned, and does not ask for a logical date in the trigger form beside the day of the analysis.
    """

    partitioned = True
    description = "On request: by a person or by daily_experiments"

    @property
    def summary(self) -> str:
        """The text in the list of DAGs."""
        return "on request"

    def generate_run_id(
        self, *, run_type: DagRunType, run_after: DateTime, data_interval: DataInterval | None, **extra: Any
    ) -> str:
        """A run id that a person can read, such as `by_hand__2026-02-14_08:15:03.250`, for runs that nobody named."""
        return f"by_hand__{run_after:%Y-%m-%d_%H:%M:%S}.{run_after.microsecond // 1000:03d}"
