"""Rules between the keys of mapped sources: columns that the contract has, options that fit the format, known arms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from exp_platform.config.models.experiment import Experiment
from exp_platform.config.models.source import BOTH, EPOCHS, TIME, Source, listed
from exp_platform.config.words import suggest
from exp_platform.schemas import contract_columns

_EXPECTED = {"double": "a number", "timestamptz": "a time such as 2026-02-01T00:00:00Z"}


def experiment_source_problems(experiment: Experiment) -> list[str]:
    """Every rule that an experiment's mapped sources break, as `key: sentence`."""
    problems = list(_exposure_problems(experiment))
    for twice in ("assignments", "exposures"):
        if BOTH in experiment.sources and twice in experiment.sources:
            problems.append(f"sources.{twice}: {BOTH} stands for it already; keep one of the two")
    for dataset, sources in experiment.sources.items():
        parts = listed(sources)
        if not parts:
            problems.append(f"sources.{dataset}: an empty list; name a source, or leave the key out")
        for i, source in enumerate(parts):
            key = f"sources.{dataset}" + (f".{i}" if not isinstance(sources, Source) else "")
            arms = [variant.id for variant in experiment.variants]
            problems += [f"{key}.{problem}" for problem in source_problems(source, dataset, arms)]
    return problems


def source_problems(source: Source, dataset: str, arms: Iterable[str] | None = None) -> Iterator[str]:
    """Every rule that one source breaks; `arms` are those of its experiment, None where many experiments read it."""
    yield from _column_problems(source, columns_of(dataset), dataset)
    yield from _metric_problems(source, dataset)
    if source.format != "csv":
        for name, is_default in (("delimiter", source.delimiter == ","), ("header", source.header)):
            if not is_default:
                yield f"{name}: only csv has one, this source is {source.format}"
    if source.timezone is not None and not _is_zone(source.timezone):
        yield f"timezone: found {source.timezone!r}, must be a zone such as Europe/Berlin or UTC"
    written = source.timestamp_format or ""
    if written.startswith("epoch") and written not in EPOCHS:
        yield (f"timestamp_format: found {written!r}{suggest(written, EPOCHS)}; epochs are {', '.join(EPOCHS)}")
    if source.aliases and "variant" not in columns_of(dataset):
        yield f"aliases: {dataset} have no arm; allowed for assignments and exposures"
    if arms is not None:
        known = list(arms)
        for name, arm in source.aliases.items():
            if arm not in known:
                yield f"aliases.{name}: '{arm}' is no arm; known: {', '.join(known)}{suggest(arm, known)}"


def columns_of(dataset: str) -> dict[str, str]:
    """Column -> type: those that a source of the dataset may map."""
    if dataset == BOTH:
        both = contract_columns("assignments") | contract_columns("exposures", optional=True)
        return both | {TIME: "timestamptz"}
    return contract_columns(dataset, optional=True)


def _column_problems(source: Source, types: dict[str, str], dataset: str) -> Iterator[str]:
    for key, names in (("columns", source.columns), ("constants", source.constants)):
        for name in names:
            if name not in types:
                yield (
                    f"{key}.{name}: {dataset} have no such column{suggest(name, types)}; allowed: {', '.join(types)}"
                )
    for name in source.columns.keys() & source.constants.keys():
        yield f"constants.{name}: columns has it already; keep one of the two"
    for name, text in source.constants.items():
        kind = types.get(name, "string")
        if not _is_of(kind, text):
            yield f"constants.{name}: found {text!r}, expected {_EXPECTED[kind]}"


def _metric_problems(source: Source, dataset: str) -> Iterator[str]:
    if not source.metrics:
        return
    if dataset != "outcomes":
        yield f"metrics: only outcomes have metrics, this is a source of {dataset}"
        return
    for key, names in (("columns", source.columns), ("constants", source.constants)):
        for name in ("metric_name", "value"):
            if name in names:
                yield f"{key}.{name}: each of metrics has its own; leave this one out"


def _exposure_problems(experiment: Experiment) -> Iterator[str]:
    if experiment.exposure_source == "exposures":
        return
    if experiment.analysis_mode != "itt":
        yield (
            f"exposure_source: found none, so that nobody is known to be exposed: analysis_mode must be itt, "
            f"found {experiment.analysis_mode}"
        )
    if experiment.assignment_source == "exposures":
        yield "exposure_source: found none, but assignment_source takes the assignments from the exposures"
    for dataset in ("exposures", BOTH):
        if dataset in experiment.sources:
            yield f"exposure_source: found none, but sources.{dataset} names an exposure log; leave one of them out"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _is_of(kind: str, text: str) -> bool:
    try:
        if kind == "double":
            return math.isfinite(float(text))
        if kind == "timestamptz":
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
