"""One run of one experiment as of one day, as Airflow and `run_end_to_end` hand it from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project, load_project
from exp_platform.config.models import Experiment, Metric
from exp_platform.lake.row_audit import Scope
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.registry import Output, Stage
from exp_platform.version import code_version

if TYPE_CHECKING:
    from exp_platform.pipelines.stream_view import StreamView

BY_HAND = "a stage by hand"


@dataclass(frozen=True)
class Options:
    """Settings of a run that only some stages take; the registry says which stage takes which."""

    generate_synth: bool = False
    seed: int | None = None
    fault: tuple[str, ...] = ()  # NAME[:SIZE[:DAYS]]
    full_refresh: bool = False


@dataclass(frozen=True)
class Run:
    """One run of one experiment, as of one day, with one configuration."""

    project: Project  # with the override of the analysis mode, where there is one
    experiment_id: str
    dt: date
    run_id: str
    options: Options = field(default_factory=Options)
    analysis_mode: str | None = None  # the override alone, for the next stage's command line
    started_by: str = "airflow"  # shown to another run that finds the experiment claimed

    @property
    def by_hand(self) -> bool:
        """True when a person started this one stage: then the stage itself claims and releases the experiment."""
        return self.started_by == BY_HAND

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment's configuration."""
        return self.project.experiment(self.experiment_id)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The experiment's metrics in configured order, guardrails included."""
        return self.project.metrics_of(self.experiment)

    @cached_property
    def config_hash(self) -> str:
        """Hash of all configuration that can change a number of this experiment."""
        return self.project.config_hash(self.experiment)

    def hash_without(self, ignored: tuple[str, ...]) -> str:
        """The hash of the configuration without some kinds of `exclude`, or `acknowledge`: see `Output.ignores`."""
        experiment = self.experiment
        kept = tuple(one for one in experiment.exclude if one.what not in ignored)
        acknowledged = () if "acknowledge" in ignored else experiment.acknowledge
        if (kept, acknowledged) == (experiment.exclude, experiment.acknowledge):
            return self.config_hash
        return self.project.config_hash(experiment.model_copy(update={"exclude": kept, "acknowledge": acknowledged}))

    @cached_property
    def stream_views(self) -> Mapping[str, StreamView]:
        """Table of events -> view, for each dataset that the experiment reads from streams."""
        if not self.experiment.streams:
            return {}
        from exp_platform.pipelines.stream_view import stream_views  # imports pyspark, which most stages never need

        return stream_views(self.project, self.experiment)

    def inputs_of(self, output: Output) -> tuple[str, ...]:
        """The tables whose snapshots identify a publication, events of streams by the table that they would be in."""
        return output.inputs(self.experiment)

    @cached_property
    def code_version(self) -> str:
        """Version of the package and hash of its source files."""
        return code_version()

    @property
    def cutoff(self) -> datetime:
        """The run sees events with time < cutoff: dt + 1 day, 00:00 UTC."""
        return cutoff(self.dt)

    @property
    def scope(self) -> Scope:
        """The rows that a publication of this run replaces."""
        return Scope(self.experiment_id, self.dt)

    def to_xcom(self) -> dict[str, Any]:
        """The run as plain values, for the tasks that follow `resolve_run`."""
        return {
            "config": str(self.project.path),
            "experiment_id": self.experiment_id,
            "dt": self.dt.isoformat(),
            "run_id": self.run_id,
            "analysis_mode": self.analysis_mode,
            "generate_synth": self.options.generate_synth,
            "seed": self.options.seed,
            "fault": " ".join(self.options.fault),
            "full_refresh": self.options.full_refresh,
        }

    @classmethod
    def from_xcom(cls, values: Mapping[str, Any]) -> Run:
        """The run that `to_xcom` has written; its configuration is loaded again from the files."""
        mode = values.get("analysis_mode") or None
        project = load_project(values["config"], only=(values["experiment_id"],))
        return cls(
            project=project.with_analysis_mode(values["experiment_id"], mode),
            experiment_id=values["experiment_id"],
            dt=date.fromisoformat(values["dt"]),
            run_id=values["run_id"],
            options=Options(
                generate_synth=bool(values.get("generate_synth")),
                seed=values.get("seed"),
                fault=tuple((values.get("fault") or "").split()),
                full_refresh=bool(values.get("full_refresh")),
            ),
            analysis_mode=mode,
        )

    def arguments(self, stage: Stage) -> list[str]:
        """Command-line arguments of one stage, as `--name=value` so that a value may begin with dashes."""
        words = [
            f"--config={self.project.path}",
            f"--experiment-id={self.experiment_id}",
            f"--dt={self.dt}",
            f"--run-id={self.run_id}",
        ]
        if self.analysis_mode:
            words.append(f"--analysis-mode={self.analysis_mode}")
        if "seed" in stage.takes and self.options.seed is not None:
            words.append(f"--seed={self.options.seed}")
        if "fault" in stage.takes:
            words += [f"--fault={fault}" for fault in self.options.fault]
        if "full_refresh" in stage.takes and self.options.full_refresh:
            words.append("--full-refresh")
        return words
