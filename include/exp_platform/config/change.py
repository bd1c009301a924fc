"""A change of configuration: the metrics, policies, streams and experiments that differ, and what runs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exp_platform.config.definition import definition_of, differences
from exp_platform.config.load import Project
from exp_platform.config.models import Metric
from exp_platform.config.policy import FOLDER, load_policy
from exp_platform.config.streams import fingerprint
from exp_platform.errors import ConfigError


@dataclass(frozen=True)
class Change:
    """One file of configuration that differs."""

    kind: str  # metric, experiment, policy or stream
    name: str
    what: str  # added, removed, changed, reworded, broken or mended
    details: tuple[str, ...] = ()
    touches: tuple[str, ...] = ()  # running experiments whose next run it changes
    problem: str | None = None  # the reason why it must not be merged as it is


def changes(before: Project, now: Project) -> list[Change]:
    """Every difference between two states of the configuration, metrics first."""
    found = [*_metric_changes(before, now), *_policy_changes(before, now), *_stream_changes(before, now)]
    return [*found, *_experiment_changes(before, now)]


def running(project: Project, uses: Callable[[str], bool]) -> tuple[str, ...]:
    """Running experiments for which `uses` is true."""
    return tuple(sorted(i for i, e in project.experiments.items() if e.status == "running" and uses(i)))


def _metric_changes(before: Project, now: Project) -> Iterator[Change]:
    for name in sorted(before.metrics.keys() | now.metrics.keys()):
        old, new = before.metrics.get(name), now.metrics.get(name)
        touched = running(now, lambda i, name=name: name in _metrics_of(now, i))  # type: ignore[misc]
        if old is None or new is None:
            yield Change("metric", name, "removed" if new is None else "added", touches=touched)
        elif old != new:
            yield _metric_change(old, new, touched)


def _metric_change(old: Metric, new: Metric, touched: tuple[str, ...]) -> Change:
    found = differences(definition_of(old), definition_of(new))
    if not found and old.version == new.version:
        return Change("metric", new.name, "reworded")
    raised = () if old.version == new.version else (f"version: {old.version} → {new.version}",)
    problem = None
    if found and not raised:
        problem = f"its definition changes under version {new.version}: set version to {new.version + 1}"
    return Change("metric", new.name, "changed", (*raised, *found), touched, problem)


def _policy_changes(before: Project, now: Project) -> Iterator[Change]:
    for name in sorted(_policies(before) | _policies(now)):
        old, new = _policy(before, name), _policy(now, name)
        touched = running(now, lambda i, name=name: now.experiments[i].decision_policy == name)  # type: ignore[misc]
        found = tuple(differences(old or {}, new or {})) if old != new else ()
        if new is None or old is None:
            yield Change("policy", name, "removed" if new is None else "added", touches=touched)
        elif found:
            yield Change("policy", name, "changed", found, touched)


def _stream_changes(before: Project, now: Project) -> Iterator[Change]:
    for name in sorted(before.streams.keys() | now.streams.keys()):
        touched = running(now, lambda i, name=name: any(name in read for read in now.experiments[i].streams.values()))  # type: ignore[misc]
        old, new = before.streams.get(name), now.streams.get(name)
        if old is None or new is None:
            yield Change("stream", name, "removed" if new is None else "added", touches=touched)
        elif old != new:
            details = tuple(differences(fingerprint(old), fingerprint(new)))
            yield Change("stream", name, "changed" if details else "reworded", details, touched if details else ())


def _experiment_changes(before: Project, now: Project) -> Iterator[Change]:
    ids = before.experiments.keys() | now.experiments.keys() | before.broken.keys() | now.broken.keys()
    for name in sorted(ids):
        if name in now.broken:
            problem = now.broken[name]
            yield Change("experiment", name, "broken", problem=problem)
            continue
        old, new = before.experiments.get(name), now.experiments.get(name)
        touched = running(now, lambda i, name=name: i == name)  # type: ignore[misc]
        if old is None or new is None:
            what = "removed" if new is None else "mended" if name in before.broken else "added"
            yield Change("experiment", name, what, touches=touched)
        elif old != new:
            found = differences(old.model_dump(mode="json"), new.model_dump(mode="json"))
            yield Change("experiment", name, "changed", tuple(found), touched)


def _metrics_of(project: Project, experiment_id: str) -> set[str]:
    """Names of the metrics that an experiment reads, covariates included."""
    metrics = project.metrics_of(project.experiments[experiment_id])
    return {name for metric in metrics for name in (metric.name, *metric.covariates)}


def _policies(project: Project) -> set[str]:
    return {file.stem for file in (project.root / FOLDER).glob("*.yaml")}


def _policy(project: Project, name: str) -> Mapping[str, Any] | None:
    if name not in _policies(project):
        return None
    try:
        return load_policy(project.root, name).model_dump(mode="json")
    except ConfigError as error:
        return {"refused": str(error)}
