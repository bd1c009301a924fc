"""A project: one profile with its metrics, experiments and streams, each file read once, into frozen models."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from exp_platform.config.definition import WORDING
from exp_platform.config.key_rules import suggest
from exp_platform.config.lazily import Entries, Lazily, Read, Refused
from exp_platform.config.models import (
    ID_PATTERN,
    ContractSettings,
    Experiment,
    Metric,
    Profile,
    QualitySettings,
    Scenario,
    Stream,
)
from exp_platform.config.policy import FOLDER, load_policy
from exp_platform.config.registry_files import ExperimentFiles, MetricFiles, build, built_stream
from exp_platform.config.streams import fingerprint, load_streams
from exp_platform.config.yaml_file import ConfigFile
from exp_platform.errors import ConfigError
from exp_platform.paths import clone_root

# Keys that came after experiments had been run: who does not use them keeps the config hash.
LATER_KEYS = ("exclude", "acknowledge", "streams")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://")


def find_root(config_path: Path) -> Path:
    """The root that a profile's paths are relative to: the folder above `configs/`, else the profile's own folder."""
    folder = config_path.resolve().parent
    return folder.parent if folder.name == "configs" else folder


def default_config_path() -> Path:
    """$EXP_CONFIG, else configs/dev.yaml of the clone that this package is installed from."""
    from_environment = os.environ.get("EXP_CONFIG")
    if from_environment:
        return Path(from_environment)
    return clone_root() / "configs" / "dev.yaml"


@dataclass(frozen=True)
class Project:
    """One profile, with all of its metrics and experiments."""

    root: Path
    path: Path
    profile: Profile
    metrics: Entries[Metric]
    experiments: Entries[Experiment]
    broken: Mapping[str, str]  # experiment id -> why it is refused; other experiments can still be run
    broken_metrics: Mapping[str, str] = field(default_factory=dict)  # file's name -> why it is refused
    streams: dict[str, Stream] = field(default_factory=dict)
    broken_streams: dict[str, str] = field(default_factory=dict)  # file's name -> why it is refused

    def resolve(self, path: str) -> str:
        """A path of the profile as an absolute path below the root; a URL stays as it is."""
        return path if _URL.match(path) else str((self.root / path).resolve())

    @cached_property
    def raw_root(self) -> str:
        """The raw zone's folder, as an absolute path or URL."""
        return self.resolve(self.profile.raw_root)

    def raw_folder(self, experiment_id: str) -> str:
        """The folder of an experiment's raw datasets."""
        return f"{self.raw_root}/exp_platform/{experiment_id}"

    def experiment(self, experiment_id: str) -> Experiment:
        """The configuration of an experiment; an unknown id is an error that names the known ones."""
        check_experiment_id(experiment_id)
        if experiment_id in self.broken:
            raise ConfigError(self.broken[experiment_id])
        if experiment_id not in self.experiments:
            known = sorted(self.experiments)
            raise ConfigError(
                f"experiment '{experiment_id}' not found{suggest(experiment_id, known)}; "
                f"known: {', '.join(known) or 'none'}. Add {self.profile.experiments_dir}/{experiment_id}.yaml"
            )
        return self.experiments[experiment_id]

    def stream(self, name: str) -> Stream:
        """The contract of a stream; an unknown name is an error that names the known ones."""
        if name in self.broken_streams:
            raise ConfigError(self.broken_streams[name])
        if name not in self.streams:
            known = sorted(self.streams)
            raise ConfigError(
                f"stream '{name}' not found{suggest(name, known)}; known: {', '.join(known) or 'none'}. "
                f"Add {self.profile.streams_dir}/{name}.yaml"
            )
        return self.streams[name]

    def metrics_of(self, experiment: Experiment) -> tuple[Metric, ...]:
        """The experiment's metrics in configured order, guardrails included, with pre_period_days filled in."""
        names = dict.fromkeys((*experiment.metrics, *(g.metric for g in experiment.guardrails)))
        return tuple(self._metric(name, experiment) for name in names)

    def _metric(self, name: str, experiment: Experiment) -> Metric:
        named = tuple(self._with_days(other, experiment) for other in self.metrics[name].covariates)
        return self._with_days(name, experiment).with_covariates(named)

    def _with_days(self, name: str, experiment: Experiment) -> Metric:
        metric = self.metrics[name]
        if metric.pre_period_days is None:
            return metric.model_copy(update={"pre_period_days": experiment.pre_period_days})
        return metric

    def scenario(self, experiment_id: str) -> Scenario:
        """The scenario by which the experiment's data are generated."""
        if experiment_id not in self.profile.experiments:
            known = sorted(self.profile.experiments)
            raise ConfigError(
                f"{self.path.name}: experiments: no scenario '{experiment_id}'{suggest(experiment_id, known)}; "
                f"known: {', '.join(known) or 'none'}"
            )
        return self.profile.experiments[experiment_id]

    def refusals(self) -> list[str]:
        """One sentence for every mistake in a metric, a policy or an experiment, whether or not it is in use."""
        found = [*self.broken_metrics.values(), *_refused_policies(self.root)]
        found += [*self.broken_streams.values(), *self.broken.values()]
        return list(dict.fromkeys(line for text in found for line in text.splitlines()))

    def contracts_of(self, experiment: Experiment) -> ContractSettings:
        """The experiment's own tolerance for bad rows, else the profile's."""
        return experiment.contracts or self.profile.contracts

    def quality_of(self, experiment: Experiment) -> QualitySettings:
        """The experiment's own thresholds, else the profile's; settle_hours is at least the exposure window."""
        settings = experiment.quality or self.profile.quality
        settle = max(settings.settle_hours, experiment.exposure_window_hours or 0)
        return settings.model_copy(update={"settle_hours": settle})

    def late_arrival_days_of(self, experiment: Experiment) -> int:
        """Events that are older than so many days when they arrive are reported as late."""
        own = experiment.late_arrival_days
        return self.profile.late_arrival_days if own is None else own

    def config_hash(self, experiment: Experiment) -> str:
        """Hash of all configuration that can change a number of this experiment."""
        content = {
            "experiment": _hashed_experiment(experiment),
            "metrics": [_hashed(m) for m in self.metrics_of(experiment)],
            "covariates": [_hashed(c) for m in self.metrics_of(experiment) for c in m.covariate_metrics],
            "contracts": self.contracts_of(experiment).model_dump(mode="json"),
            "quality": self.quality_of(experiment).model_dump(mode="json"),
            "policy": load_policy(self.root, experiment.decision_policy).model_dump(mode="json"),
        }
        if experiment.streams:
            names = {name for names in experiment.streams.values() for name in names}
            content["streams"] = {name: fingerprint(self.streams[name]) for name in sorted(names)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def with_analysis_mode(self, experiment_id: str, mode: str | None) -> Project:
        """The project with one experiment's analysis mode replaced; the config hash then differs."""
        if not mode:
            return self
        experiment = self.experiment(experiment_id)
        if mode not in ("itt", "exposed"):
            raise ConfigError(f"analysis_mode: '{mode}' is not one of itt, exposed")
        changed = experiment.model_copy(update={"analysis_mode": mode})
        return replace(self, experiments=self.experiments | {experiment_id: changed})


def _hashed(metric: Metric) -> dict[str, Any]:
    """A metric contract as it goes into the config hash: a title, unit or format changes no number."""
    content: dict[str, Any] = metric.model_dump(mode="json", exclude=WORDING)
    return content


def _hashed_experiment(experiment: Experiment) -> dict[str, Any]:
    """The experiment's keys that are hashed; one of LATER_KEYS counts only where it is set."""
    unset = {key for key in LATER_KEYS if getattr(experiment, key) == Experiment.model_fields[key].default}
    return experiment.model_dump(mode="json", exclude={"status", *unset})


def check_experiment_id(experiment_id: str) -> None:
    """An id becomes a folder, a partition and a run id: letters, digits and underscores only."""
    if not re.fullmatch(ID_PATTERN, experiment_id):
        raise ConfigError(
            f"experiment_id {experiment_id!r} is not allowed: expected a small letter, then 2 to 63 small letters, "
            "digits or underscores, for example exp_checkout_button_001"
        )
    if experiment_id == "index":
        raise ConfigError("experiment_id 'index' is not allowed: it is the name of the page of all memos; take another")


def load_project(path: str | Path | None = None, only: Collection[str] | None = None) -> Project:
    """Load the profile at `path` (default: `default_config_path`), with all metrics and experiments.

    `only` names the experiments that the caller is about: they and the metrics that they use are read at once, any
    other when somebody asks for it, and all of them where somebody asks for all or a refusal must name them.
    """
    config_path = Path(path) if path is not None else default_config_path()
    if not config_path.exists() and not config_path.is_absolute():
        config_path = default_config_path().parent.parent / config_path
    root = find_root(config_path)
    profile = build(Profile, ConfigFile.read(config_path, root))
    streams, broken_streams = load_streams(root, root / profile.streams_dir, built_stream)
    place, files = config_path.resolve(), MetricFiles(root, root / profile.metrics_dir)
    if only is None:
        metrics, broken_metrics = files.everything()
        about = ExperimentFiles(root, profile, metrics, broken_metrics, streams, broken_streams)
        experiments, broken = about.everything()
        return Project(root, place, profile, metrics, experiments, broken, broken_metrics, streams, broken_streams)
    some = Read(files)
    about = ExperimentFiles(root, profile, Lazily(some), Refused(some), streams, broken_streams)
    of_experiments = Read(about)
    for experiment_id in only:
        of_experiments.find(experiment_id)
    return Project(
        root,
        place,
        profile,
        Lazily(some),
        Lazily(of_experiments),
        Refused(of_experiments),
        Refused(some),
        streams,
        broken_streams,
    )


def _refused_policies(root: Path) -> list[str]:
    found = []
    for file in sorted((root / FOLDER).glob("*.yaml")):
        try:
            load_policy(root, file.stem)
        except ConfigError as error:
            found.append(str(error))
    return found
