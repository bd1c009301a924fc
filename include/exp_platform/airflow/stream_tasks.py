"""The tasks of `ingest_streams`: wait for each stream's files, ingest them, and tell who waits for the day."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from exp_platform.airflow.daily import firing_of
from exp_platform.airflow.jobs import SparkJobOperator
from exp_platform.airflow.landing import landed_or_late
from exp_platform.airflow.schedule import day_of_firing
from exp_platform.paths import clone_root

if TYPE_CHECKING:
    from airflow.sdk import Context

DAYS = AssetAlias("stream_days")
_NAME = "{{ task.stream['stream'] }}"
_DAY = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")


def streams_to_ingest(config: str, firing: datetime) -> list[dict[str, Any]]:
    """The conf of each stream's ingest for the day before the firing instant."""
    from exp_platform.config.load import load_project

    project, dt = load_project(config), day_of_firing(firing)
    return [
        {
            "stream": stream.name,
            "dt": dt.isoformat(),
            "config": str(project.path),
            "freshness_hours": stream.freshness_hours,
        }
        for stream in sorted(project.streams.values(), key=lambda one: one.name)
    ]


def has_landed(config: str, stream: str, dt: str) -> bool:
    """True when the stream's folder has files of that day or a later one; without `dt=` folders nobody can tell."""
    from pyarrow import fs

    from exp_platform.config.load import load_project
    from exp_platform.lake.raw_zone import filesystem

    project = load_project(config, only=())
    source = project.stream(stream).source
    if source.format == "iceberg":
        return True
    files, folder = filesystem(project, project.resolve(source.location))
    if files.get_file_info(folder).type == fs.FileType.File:
        return True
    found = files.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    days = {day for info in found if info.is_file for day in _DAY.findall(info.path)}
    if not days:
        return any(info.is_file for info in found)
    return bool(max(days) >= dt)


class StreamLandedTrigger(BaseTrigger):
    """A trigger that looks for a stream's files of the day every `interval` seconds, until the time is up."""

    def __init__(self, config: str, stream: str, dt: str, until: float, interval: float) -> None:
        super().__init__()
        self.config = config
        self.stream = stream
        self.dt = dt
        self.until = until
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The path of the class, and its arguments."""
        names = ("config", "stream", "dt", "until", "interval")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, which says whether the files have landed."""
        look = partial(has_landed, self.config, self.stream, self.dt)
        yield await landed_or_late(look, self.until, self.interval)


class StreamLanded(BaseOperator):
    """Wait up to the stream's `freshness_hours` for the day's files, without holding a worker."""

    template_fields = ("stream",)
    ui_color = "#fff7e6"

    def __init__(self, *, stream: Any, interval: float = 60, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.interval = interval

    def execute(self, context: Context) -> None:
        """Return at once when the files have landed, as in a backfill; else defer to the trigger."""
        wanted = self.stream
        if has_landed(wanted["config"], wanted["stream"], wanted["dt"]):
            self.log.info("stream %s has landed for %s", wanted["stream"], wanted["dt"])
            return
        hours = wanted["freshness_hours"]
        self.log.info("waiting up to %s h for the files of %s", hours, wanted["dt"])
        until = time.time() + hours * 3600
        trigger = StreamLandedTrigger(wanted["config"], wanted["stream"], wanted["dt"], until, self.interval)
        self.defer(trigger=trigger, method_name="resume", timeout=timedelta(hours=hours + 1))

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        """Fail without retry when the time is up, and alert once: the experiments that read the stream wait for it."""
        if event["landed"]:
            return
        wanted = self.stream
        sentence = (
            f"stream {wanted['stream']} has no files of {wanted['dt']} after {wanted['freshness_hours']} h: "
            "ask its owner; clear this task when they are there"
        )
        alert_stream(context, wanted, self.task_id, sentence)
        raise AirflowFailException(sentence)


class IngestStream(SparkJobOperator):
    """Ingests one stream as one Spark application; afterwards the asset `stream/<name>` says which day is there."""

    template_fields = ("stream",)

    def __init__(self, *, stream: Any, **kwargs: Any) -> None:
        super().__init__(
            job="ingest_streams", job_folder=clone_root() / "spark_jobs", outlets=[DAYS], priority_weight=10, **kwargs
        )
        self.stream = stream

    def job_arguments(self, context: Context) -> tuple[str, list[str]]:
        """The profile and the command line of the stream's ingest."""
        from exp_platform.config.load import load_project
        from exp_platform.errors import ConfigError
        from exp_platform.pipelines.registry import INGEST_STREAMS
        from exp_platform.pipelines.stream_run import stream_run

        wanted = self.stream
        try:
            project = load_project(wanted["config"])
            run = stream_run(project, wanted["stream"], date.fromisoformat(wanted["dt"]), run_id_of(context, wanted))
        except ConfigError as error:
            raise AirflowFailException(str(error)) from None
        return str(project.path), run.arguments(INGEST_STREAMS)

    def execute(self, context: Context) -> None:
        """Ingest, then add the day to the stream's asset; a broken contract alerts once for the stream."""
        try:
            super().execute(context)
        except AirflowFailException as error:
            alert_stream(context, self.stream, self.job, str(error), contract=True)
            raise
        extra = {"dt": self.stream["dt"], "run_id": run_id_of(context, self.stream)}
        context["outlet_events"][DAYS].add(Asset(f"stream/{self.stream['stream']}"), extra=extra)


def run_id_of(context: Context, wanted: dict[str, Any]) -> str:
    """The run id of a stream's ingest within a run of the DAG: one for each stream."""
    return f"{wanted['stream']}__{wanted['dt']}__{context['run_id']}"[:200]


def alert_stream(
    context: Context, wanted: dict[str, Any], subject: str, sentence: str, *, contract: bool = False
) -> None:
    """Record and send the one alert about a stream."""
    from exp_platform.airflow.alerting import tell
    from exp_platform.alerts.model import contract_alert, crash_alert
    from exp_platform.config.load import load_project

    project, dt = load_project(wanted["config"]), date.fromisoformat(wanted["dt"])
    owner_id = project.stream(wanted["stream"]).owner_id
    build = contract_alert if contract else crash_alert
    run = {"experiment_id": owner_id, "dt": wanted["dt"], "run_id": run_id_of(context, wanted)}
    tell(project, [build(owner_id, dt, subject, sentence)], run, context)


@task(retries=2)
def find_streams() -> list[dict[str, Any]]:
    """Decide the day of this run, and list the streams."""
    from exp_platform.errors import ExpError

    context = get_current_context()
    try:
        found = streams_to_ingest(context["params"]["config"], firing_of(context))
    except ExpError as error:
        raise AirflowFailException(str(error)) from None
    print(f"{len(found)} streams: {', '.join(one['stream'] for one in found) or 'none'}")
    return found


@task(retries=2)
def refused_streams() -> None:
    """Fail when a stream's file is broken, so that somebody repairs it; the other streams are ingested all the same."""
    from exp_platform.config.load import load_project

    project = load_project(get_current_context()["params"]["config"])
    if project.broken_streams:
        raise AirflowFailException("\n".join(project.broken_streams.values()))
    print(f"{len(project.streams)} streams can be read")


@task_group
def ingest_stream(stream: Any) -> None:
    """One stream: wait for its files, then ingest them."""
    landed = StreamLanded(task_id="landed", stream=stream, map_index_template=_NAME, retries=2)
    ingest = IngestStream(task_id="ingest", stream=stream, map_index_template=_NAME)
    landed >> ingest
