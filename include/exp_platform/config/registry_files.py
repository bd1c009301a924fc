"""The files of metrics and experiments: one by its name, or all with the reasons for which some are refused.

An error names file, key, found and allowed values. A broken file stops only who uses it.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from exp_platform.config.key_rules import covariate_problems, experiment_problems, metric_problems, suggest
from exp_platform.config.models import Experiment, Metric, Profile, Scenario, Stream, Variant
from exp_platform.config.policy import load_policy
from exp_platform.config.streams import stream_problems
from exp_platform.config.unusable_rules import unusable_problems
from exp_platform.config.yaml_file import ConfigFile, shown_path
from exp_platform.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
Place = Callable[[str], str]  # where a key stands: its file and line
PATTERN = ".y*ml"
_PLAIN_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class MetricFiles:
    """The files of metric contracts."""

    root: Path
    folder: Path

    def one(self, name: str) -> Metric | None:
        """The metric of that name, when its file and those of its covariates are plainly right; else None."""
        found: dict[str, Metric] = {}
        wanted = [name]
        try:
            while wanted:
                wanted_now = wanted.pop()
                paths = files_named(self.folder, wanted_now)
                if len(paths) != 1:
                    return None
                found[wanted_now], _ = self._built(paths[0])
                wanted += [other for other in found[wanted_now].covariates if other not in found]
        except ConfigError:
            return None
        return None if any(covariate_problems(metric, found, {}) for metric in found.values()) else found[name]

    def everything(self) -> tuple[dict[str, Metric], dict[str, str]]:
        """The metrics by name, and the files that are refused with their reason: these stop only who uses them."""
        metrics: dict[str, Metric] = {}
        places: dict[str, Place] = {}
        broken: dict[str, str] = {}
        for path in sorted(self.folder.glob(f"*{PATTERN}")):
            try:
                metric, place = self._built(path)
                if metric.name in metrics:
                    shown = shown_path(path, self.root)
                    raise ConfigError(f"{shown}: name: metric '{metric.name}' has another file, which counts")
                metrics[metric.name], places[metric.name] = metric, place
            except ConfigError as error:
                broken[path.stem] = str(error)
        # A metric that is refused for its covariates may be named by others, which are then refused as well.
        while bad := {n: p for n, metric in metrics.items() if (p := covariate_problems(metric, metrics, broken))}:
            for name, problems in bad.items():
                broken[name] = refusal(places[name], problems)
                del metrics[name]
        return metrics, broken

    def _built(self, path: Path) -> tuple[Metric, Place]:
        file = ConfigFile.read(path, self.root)
        metric = build(Metric, file)
        refuse(file.place, metric_problems(metric, path.stem))
        return metric, file.place


@dataclass(frozen=True)
class ExperimentFiles:
    """The files of experiments, the scenarios of a profile that have none, and what an experiment may name."""

    root: Path
    profile: Profile
    metrics: Mapping[str, Metric]
    broken_metrics: Mapping[str, str]
    streams: Mapping[str, Stream]
    broken_streams: Mapping[str, str]

    def one(self, experiment_id: str) -> Experiment | None:
        """The experiment of that id, when its file and all that it names are plainly right; else None."""
        paths = files_named(self.root / self.profile.experiments_dir, experiment_id)
        if len(paths) > 1 or (not paths and experiment_id not in self.profile.experiments):
            return None
        try:
            return self._checked(experiment_id, self._builder(paths[0] if paths else None, experiment_id))
        except ConfigError:
            return None

    def everything(self) -> tuple[dict[str, Experiment], dict[str, str]]:
        """The experiments by id, and those that are refused with their reason."""
        experiments: dict[str, Experiment] = {}
        broken: dict[str, str] = {}
        policy = cache(partial(load_policy, self.root))  # thousands of experiments have the same few

        def load(experiment_id: str, path: Path | None) -> None:
            try:
                experiments[experiment_id] = self._checked(experiment_id, self._builder(path, experiment_id), policy)
            except ConfigError as error:
                broken[experiment_id] = str(error)

        for path in sorted((self.root / self.profile.experiments_dir).glob(f"*{PATTERN}")):
            load(path.stem, path)
        for experiment_id in self.profile.experiments:
            if experiment_id not in experiments and experiment_id not in broken:
                load(experiment_id, None)
        return experiments, broken

    def _builder(self, path: Path | None, experiment_id: str) -> Callable[[], tuple[Experiment, Place]]:
        if path is not None:
            return partial(_registered, path, self.root)
        return partial(_from_defaults, self.profile, experiment_id, self.profile.experiments[experiment_id])

    def _checked(
        self,
        experiment_id: str,
        made: Callable[[], tuple[Experiment, Place]],
        policy: Callable[[str], object] | None = None,
    ) -> Experiment:
        """The experiment, after every rule that it may break."""
        experiment, place = made()
        used = dict.fromkeys((*experiment.metrics, *(g.metric for g in experiment.guardrails)))
        refused = [f"metrics: '{m}' is refused: {self.broken_metrics[m]}" for m in used if m in self.broken_metrics]
        refuse(place, refused)
        problems = experiment_problems(experiment, experiment_id, self.metrics)
        problems += unusable_problems(experiment, self.metrics)
        refuse(place, [*problems, *stream_problems(experiment, self.streams, self.broken_streams, self.metrics)])
        # A bad policy is refused now instead of in the last stage.
        (policy or partial(load_policy, self.root))(experiment.decision_policy)
        return experiment


def files_named(folder: Path, name: str) -> list[Path]:
    """The files that could be those of a name; a name that no file may have has none."""
    if not _PLAIN_NAME.fullmatch(name):
        return []
    return [path for path in folder.glob(f"{glob.escape(name)}{PATTERN}") if path.stem == name]


def built_stream(model: type[Stream], file: ConfigFile, problems: Callable[[Stream], list[str]]) -> Stream:
    """The stream that a file describes; `problems` finds the rules that it breaks."""
    stream = build(model, file)
    refuse(file.place, problems(stream))
    return stream


def _registered(path: Path, root: Path) -> tuple[Experiment, Place]:
    file = ConfigFile.read(path, root)
    return build(Experiment, file), file.place


def _from_defaults(profile: Profile, experiment_id: str, scenario: Scenario) -> tuple[Experiment, Place]:
    """The experiment of a scenario without a registry file, made from the profile's `experiment_defaults`."""
    defaults = profile.experiment_defaults
    if defaults is None:
        raise ConfigError(
            f"experiment '{experiment_id}' has a scenario but no {profile.experiments_dir}/{experiment_id}.yaml, "
            "and the profile has no experiment_defaults: write one of them"
        )
    content = defaults.model_dump()
    content["planned_users"] = defaults.planned_users or scenario.n_users
    experiment = Experiment(
        experiment_id=experiment_id,
        name=experiment_id,
        end_ts=defaults.start_ts + timedelta(days=scenario.days),
        pre_period_days=scenario.pre_period_days,
        variants=(
            Variant(id="control", allocation=1 - scenario.treatment_share, is_control=True),
            Variant(id="treatment", allocation=scenario.treatment_share),
        ),
        **content,
    )
    return experiment, lambda _: f"experiments: {experiment_id}"


def refuse(place: Place, problems: list[str]) -> None:
    """Raise the problems, if there are any, each with the place of its key."""
    if problems:
        raise ConfigError(refusal(place, problems))


def refusal(place: Place, problems: list[str]) -> str:
    """The problems, each with the place of its key."""
    return "\n".join(f"{place(problem.split(':')[0])}: {problem}" for problem in problems)


def build(model: type[M], file: ConfigFile) -> M:
    """The model that a file describes; every key that it refuses is named with its line."""
    try:
        return model.model_validate(file.content)
    except ValidationError as error:
        refuse(file.place, [_sentence(model, e) for e in error.errors()])
        raise  # an error without a sentence of its own


def _sentence(model: type[BaseModel], error: Any) -> str:
    """One pydantic error as a sentence with key, found and allowed values."""
    location = tuple(part for part in error["loc"] if part not in ("(one)", "(many)"))
    key = ".".join(map(_printable, location))
    if error["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return f"{key}: unknown key{suggest(str(location[-1]), known)}; allowed: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{key}: missing, and it is required"
    found = error.get("input")
    return f"{key}: found {_cut(repr(found))}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _printable(part: object) -> str:
    """A part of a key as text that moves no cursor and begins no line.

    >>> _printable("window"), _printable(0), _printable("a\\rb")
    ('window', '0', "'a\\\\rb'")
    """
    text = str(part)
    return text if text.isprintable() else repr(text)


def _cut(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys allowed at a location in nested models; empty where the annotation names no model."""
    current: Any = model
    for part in location:
        if isinstance(part, int) or not (isinstance(current, type) and issubclass(current, BaseModel)):
            continue
        field = current.model_fields.get(part)
        if field is None:
            continue
        current = _inner_model(field.annotation)
    return sorted(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
