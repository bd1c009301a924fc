"""Wait for a day's raw data without holding a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from exp_platform.airflow.jobs import FAILURE_KEY
from exp_platform.airflow.morning import failed_before_its_run
from exp_platform.errors import wrapped

if TYPE_CHECKING:
    from airflow.sdk import Context

    from exp_platform.config.load import Project

# Only outcomes are awaited: on some days, and after the end, there are rightly no assignments or exposures.
_DATASET = "outcomes"


def has_landed(config: str, experiment_id: str, dt: str) -> bool:
    """True when the raw zone has files of outcomes for that day or a later one; a mapped source counts as landed.

    An experiment that reads streams waits until each of them has been ingested for the day.
    """
    from pyarrow import fs

    from exp_platform.config.load import load_project
    from exp_platform.lake.raw_zone import filesystem

    project = load_project(config, only=(experiment_id,))
    experiment = project.experiment(experiment_id)
    if experiment.streams and late_streams(project, experiment_id, dt):
        return False
    if _DATASET in experiment.sources or _DATASET in experiment.streams:
        return True
    files, folder = filesystem(project, f"{project.raw_folder(experiment_id)}/{_DATASET}")
    found = files.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    days = {part for info in found if info.is_file for part in info.path.split("/") if part.startswith("dt=")}
    return any(day >= f"dt={dt}" for day in days)


def late_streams(project: Project, experiment_id: str, dt: str) -> list[str]:
    """Names of the streams of an experiment that no run has ingested for that day or a later one.

    A blocked stream is not awaited: the experiment's own run says so in its memo.
    """
    from exp_platform.lake.catalog import load_handle
    from exp_platform.lake.ops import read_rows
    from exp_platform.lake.tables.names import RUN_MANIFEST
    from exp_platform.pipelines.stream_gate import state_of
    from exp_platform.pipelines.stream_run import streams_of

    late, handle = [], load_handle(project, RUN_MANIFEST)
    for name in streams_of(project, experiment_id):
        key = {"experiment_id": project.stream(name).owner_id, "stage": "ingest_streams"}
        state = state_of(name, read_rows(handle, key))
        if state.blocked_since is None and (state.last_dt is None or state.last_dt.isoformat() < dt):
            late.append(name)
    return late


async def landed_or_late(has_landed: Callable[[], bool], until: float, interval: float) -> TriggerEvent:
    """Look every `interval` seconds; the event says whether the data have landed before the time was up."""
    while not await asyncio.to_thread(has_landed):
        left = until - time.time()
        if left <= 0:
            return TriggerEvent({"landed": False})
        await asyncio.sleep(min(interval, left))
    return TriggerEvent({"landed": True})


class RawLandedTrigger(BaseTrigger):
    """A trigger that looks for the day's data every `interval` seconds, until they have landed or the time is up."""

    def __init__(self, config: str, experiment_id: str, dt: str, until: float, interval: float) -> None:
        super().__init__()
        self.config = config
        self.experiment_id = experiment_id
        self.dt = dt
        self.until = until
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The path of the class, and its arguments."""
        names = ("config", "experiment_id", "dt", "until", "interval")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, which says whether the data have landed."""
        look = partial(has_landed, self.config, self.experiment_id, self.dt)
        yield await landed_or_late(look, self.until, self.interval)


class RawReady(BaseOperator):
    """Wait up to `landing.timeout_hours` for the day's raw data."""

    template_fields = ("experiment",)
    ui_color = "#fff7e6"

    def __init__(self, *, experiment: Any, interval: float = 60, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experiment = experiment
        self.interval = interval

    def execute(self, context: Context) -> None:
        """Return at once when the data have landed, as in a backfill; else defer to the trigger."""
        wanted = self.experiment
        if has_landed(wanted["config"], wanted["experiment_id"], wanted["dt"]):
            self.log.info("raw data of %s have landed for %s", wanted["dt"], wanted["experiment_id"])
            return
        hours = wanted["timeout_hours"]
        self.log.info("waiting up to %s h for the raw data of %s", hours, wanted["dt"])
        until = time.time() + hours * 3600
        trigger = RawLandedTrigger(wanted["config"], wanted["experiment_id"], wanted["dt"], until, self.interval)
        self.defer(trigger=trigger, method_name="resume", timeout=timedelta(hours=hours + 1))

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        """Fail without retry when the time is up, because a person has to look at the source."""
        if event["landed"]:
            return
        experiment_id, dt = self.experiment["experiment_id"], self.experiment["dt"]
        hours = self.experiment["timeout_hours"]
        if late := self._late_streams():
            sentence = (
                f"{', '.join(late)} not ingested for {dt} after {hours} h: see the DAG ingest_streams; clear this task "
                "when the streams are there"
            )
            self._alert_streams(context, late)
        else:
            sentence = (
                f"no raw outcomes of {dt} after {hours} h: ask the team that delivers them; clear this task when they "
                "are there"
            )
            self._alert(context, experiment_id, sentence)
        context["ti"].xcom_push(FAILURE_KEY, failed_before_its_run(experiment_id, "raw_ready", sentence))
        raise AirflowFailException(wrapped(f"{experiment_id}: {sentence}"))

    def _late_streams(self) -> list[str]:
        """Names of the experiment's streams that are late."""
        from exp_platform.config.load import load_project

        wanted = self.experiment
        project = load_project(wanted["config"], only=(wanted["experiment_id"],))
        return late_streams(project, wanted["experiment_id"], wanted["dt"])

    def _alert_streams(self, context: Context, late: list[str]) -> None:
        """Alert on each late stream, unless something about it was told for the day: one alert for all its readers."""
        from exp_platform.alerts.book import told_of
        from exp_platform.config.load import load_project

        project, dt = load_project(self.experiment["config"], only=()), self.experiment["dt"]
        for name in late:
            owner_id = project.stream(name).owner_id
            if told_of(project, owner_id, date.fromisoformat(dt)):
                self.log.info("no alert: the stream %s has sent one for %s", name, dt)
                continue
            sentence = f"stream {name} was not ingested for {dt}; the experiments that read it have stopped waiting"
            self._alert(context, owner_id, sentence)

    def _alert(self, context: Context, owner_id: str, sentence: str) -> None:
        from exp_platform.airflow.alerting import alert_problem
        from exp_platform.alerts.model import crash_alert
        from exp_platform.config.load import load_project

        dt = date.fromisoformat(self.experiment["dt"])
        project = load_project(self.experiment["config"], only=())
        alert_problem(context, project, crash_alert(owner_id, dt, "raw_ready", sentence))
