"""Read the streams, and check that an experiment's streams exist, fit, and deliver what its metrics read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exp_platform.config.key_rules import suggest
from exp_platform.config.models import ID_PATTERN, Experiment, Metric, Stream
from exp_platform.config.models.stream import NAMED_BY
from exp_platform.config.source_rules import source_problems
from exp_platform.config.yaml_file import ConfigFile
from exp_platform.errors import ConfigError

# Keys of a stream that change no number.
FOR_PEOPLE = {"description", "owner", "freshness_hours"}


def load_streams(
    root: Path, folder: Path, build: Callable[[type[Stream], ConfigFile, Callable[[Stream], list[str]]], Stream]
) -> tuple[dict[str, Stream], dict[str, str]]:
    """The streams by name, and the files that are refused with their reason: these stop only who reads them."""
    streams: dict[str, Stream] = {}
    broken: dict[str, str] = {}
    for path in sorted(folder.glob("*.y*ml")):
        try:
            stream = build(Stream, ConfigFile.read(path, root), lambda one, stem=path.stem: own_problems(one, stem))  # type: ignore[misc]
            streams[stream.name] = stream
        except ConfigError as error:
            broken[path.stem] = str(error)
    return streams, broken


def own_problems(stream: Stream, file_stem: str) -> list[str]:
    """Every rule that a stream's configuration breaks by itself, as `key: sentence`."""
    problems = []
    if stream.name != file_stem:
        problems.append(f"name: '{stream.name}' must equal the file's name '{file_stem}'")
    if not re.fullmatch(ID_PATTERN, stream.name):
        problems.append(
            f"name: {stream.name!r} is not allowed; expected a small letter, then 2 to 63 small letters, digits or "
            "underscores"
        )
    named_by = NAMED_BY.get(stream.kind)
    if named_by is None and stream.delivers:
        problems.append(f"delivers: a stream of {stream.kind} has none; outcomes and attributes have")
    if named_by is not None and not stream.delivered:
        problems.append(f"delivers: name the values of {named_by} that the stream holds, or give it as a constant")
    problems += [f"delivers: '{name}' is there twice" for name in twice(stream.delivers)]
    if named_by is not None and "experiment_id" in (*stream.source.columns, *stream.source.constants):
        problems.append(f"source: a stream of {stream.kind} has no experiment_id: leave it out of the mapping")
    if "experiment_id" in stream.source.constants:
        problems.append("source.constants.experiment_id: a log of one experiment is no stream; use its `sources`")
    problems += [f"source.{problem}" for problem in source_problems(stream.source, stream.kind)]
    return list(dict.fromkeys(problems))


def stream_problems(
    experiment: Experiment, streams: Mapping[str, Stream], broken: Mapping[str, str], metrics: Mapping[str, Metric]
) -> list[str]:
    """Every rule that the streams which an experiment names break, as `key: sentence`."""
    problems: list[str] = []
    for dataset, names in experiment.streams.items():
        key = f"streams.{dataset}"
        found = [streams[name] for name in names if name in streams]
        problems += [f"{key}: '{name}' is refused: {broken[name]}" for name in names if name in broken]
        problems += [
            f"{key}: stream '{name}' not found{suggest(name, streams)}; known: {', '.join(sorted(streams)) or 'none'}"
            for name in names
            if name not in streams and name not in broken
        ]
        problems += [f"{key}: '{name}' is there twice" for name in twice(names)]
        problems += [
            f"{key}: '{stream.name}' is a stream of {stream.kind}; name one of {dataset}"
            for stream in found
            if stream.kind != dataset
        ]
        if not names:
            problems.append(f"{key}: names no stream; name one, or leave the key out to read the raw zone")
        if experiment.sources_of(dataset):
            problems.append(f"{key}: sources.{dataset} says where the events are as well; keep one of the two")
        if dataset == "exposures" and experiment.exposure_source == "none":
            problems.append(f"{key}: exposure_source is none; leave one of the two out")
        if dataset not in NAMED_BY and len(names) > 1:
            problems.append(f"{key}: found {len(names)} streams; name one, since the same event may be in both")
        if not problems:
            problems += _delivery_problems(experiment, dataset, found, metrics)
    return problems


def _delivery_problems(
    experiment: Experiment, dataset: str, streams: Sequence[Stream], metrics: Mapping[str, Metric]
) -> Iterator[str]:
    """A name that no stream delivers although a metric or dimension needs it, or that two deliver."""
    key, delivered = f"streams.{dataset}", [name for stream in streams for name in stream.delivered]
    for name in twice(delivered):
        both = " and ".join(f"'{stream.name}'" for stream in streams if name in stream.delivered)
        yield f"{key}: {both} both deliver '{name}', whose events would count twice; leave one of them out"
    names = ", ".join(dict.fromkeys(delivered))
    known = f"{', '.join(s.name for s in streams)} deliver{'s' if len(streams) == 1 else ''} {names}"
    lacking: dict[str, list[str]] = {}
    for what, name in needed_names(experiment, dataset, metrics):
        if name not in delivered:
            lacking.setdefault(name, []).append(what)
    for name, who in lacking.items():
        yield (
            f"{key}: {' and '.join(who)} need{'s' if len(who) == 1 else ''} '{name}', which no stream delivers "
            f"({known}){suggest(name, delivered)}; name a stream that delivers it"
        )


def needed_names(experiment: Experiment, dataset: str, metrics: Mapping[str, Metric]) -> Iterator[tuple[str, str]]:
    """Who needs what of a dataset: each metric with its sources, each attribute that the analysis reads."""
    if dataset == "attributes":
        yield from (("dimensions", name) for name in experiment.attributes_read)
    elif dataset == "outcomes":
        wanted = (*experiment.metrics, *(guardrail.metric for guardrail in experiment.guardrails))
        named = [metrics[name] for name in dict.fromkeys(wanted) if name in metrics]
        covariates = [metrics[name] for metric in named for name in metric.covariates if name in metrics]
        for metric in dict.fromkeys((*named, *covariates)):
            yield from ((f"metric '{metric.name}'", source) for source in dict.fromkeys(metric.sources))


def unread(streams: Mapping[str, Stream], experiments: Mapping[str, Experiment]) -> list[str]:
    """One sentence for each stream that no experiment reads."""
    read = {name for experiment in experiments.values() for names in experiment.streams.values() for name in names}
    return [
        f"stream '{name}' is read by no experiment: name it under `streams` of one, or delete its file"
        for name in sorted(streams.keys() - read)
    ]


def fingerprint(stream: Stream) -> dict[str, Any]:
    """The keys of a stream that can change a number, without those that hold their default."""
    return stream.model_dump(mode="json", exclude_defaults=True, exclude=FOR_PEOPLE)


def twice(names: Sequence[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
