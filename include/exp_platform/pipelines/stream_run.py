"""One run of one stream: its events come in once, for all experiments that read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from exp_platform.config.load import Project
from exp_platform.config.models import Metric, Stream
from exp_platform.config.models.stream import OWNER_PREFIX
from exp_platform.config.streams import fingerprint
from exp_platform.pipelines.registry import Output, Stage
from exp_platform.pipelines.run import Options, Run

if TYPE_CHECKING:
    from exp_platform.pipelines.stream_view import StreamView


@dataclass(frozen=True)
class StreamRun(Run):
    """A run whose `experiment_id` is `stream.<name>`: the owner of the rows that it publishes."""

    @property
    def stream(self) -> Stream:
        """The stream's contract."""
        return self.project.stream(self.experiment_id.removeprefix(OWNER_PREFIX))

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """No metric: a stream is ingested for whoever reads it."""
        return ()

    @cached_property
    def config_hash(self) -> str:
        """Hash of all configuration that can change a row of the stream."""
        content = {
            "stream": fingerprint(self.stream),
            "contracts": (self.stream.contracts or self.project.profile.contracts).model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def hash_without(self, ignored: tuple[str, ...]) -> str:
        """The hash of the configuration: a stream has no `exclude` and no `acknowledge` to leave out."""
        return self.config_hash

    @cached_property
    def stream_views(self) -> Mapping[str, StreamView]:
        """No view: a stream's run reads the tables of streams by their own names."""
        return {}

    def inputs_of(self, output: Output) -> tuple[str, ...]:
        """The tables whose snapshots identify a publication: none, as raw files are no tables."""
        return ()

    def arguments(self, stage: Stage) -> list[str]:
        """Command-line arguments of the stage."""
        words = [f"--config={self.project.path}", f"--stream={self.stream.name}", f"--dt={self.dt}"]
        words += [f"--run-id={self.run_id}"]
        return [*words, "--full-refresh"] if self.options.full_refresh else words


def stream_run(
    project: Project, name: str, dt: date, run_id: str, *, full_refresh: bool = False, started_by: str = "airflow"
) -> StreamRun:
    """A run of a stream, given by name."""
    stream = project.stream(name)
    return StreamRun(project, stream.owner_id, dt, run_id, Options(full_refresh=full_refresh), started_by=started_by)


def streams_of(project: Project, experiment_id: str) -> Sequence[str]:
    """Names of the streams that an experiment reads, sorted."""
    return sorted({name for names in project.experiment(experiment_id).streams.values() for name in names})
