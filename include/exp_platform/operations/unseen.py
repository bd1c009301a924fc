"""Sources of metrics and dimensions of experiments that the mapping or the lake has never seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Source
from exp_platform.config.models.source import Dataset
from exp_platform.config.words import suggest
from exp_platform.lake.catalog import existing_handle
from exp_platform.lake.filters import matching
from exp_platform.lake.rows import count_rows
from exp_platform.pipelines.outcome_names import names_in
from exp_platform.results.absent import absent_sentence

MOST_ROWS = 5_000_000  # events of an experiment that are looked through; more would take too long for a check
_COLUMNS: dict[Dataset, str] = {"outcomes": "metric_name", "attributes": "dimension"}


def unseen_in_mapping(project: Project) -> list[str]:
    """One sentence for each metric or dimension that none of the mapped sources can deliver."""
    return [
        sentence
        for name, experiment in sorted(project.experiments.items())
        for dataset in _COLUMNS
        if (delivered := delivered_names(experiment.sources_of(dataset), dataset)) is not None
        for sentence in _sentences(project, name, dataset, delivered, "sources: ")
    ]


def unseen_in_lake(project: Project) -> list[str]:
    """One sentence for each metric or dimension of which the lake's events of an experiment have none."""
    return [
        sentence
        for dataset in _COLUMNS
        for name, experiment in sorted(project.experiments.items())
        if delivered_names(experiment.sources_of(dataset), dataset) is None
        if (seen := _names_in_lake(project, experiment, dataset)) is not None
        for sentence in _sentences(project, name, dataset, seen, "")
    ]


def _names_in_lake(project: Project, experiment: Experiment, dataset: Dataset) -> frozenset[str] | None:
    """The names among an experiment's events, of streams those that it reads; None without events, or with too many."""
    streams = experiment.streams.get(dataset, ())
    handle = existing_handle(project, f"exp.stream_{dataset}" if streams else f"exp.{dataset}")
    snapshot = handle.current_snapshot() if handle is not None else None
    if handle is None or snapshot is None:
        return None
    owner = {"stream": tuple(streams)} if streams else {"experiment_id": experiment.experiment_id}
    if not 0 < count_rows(handle, snapshot.snapshot_id, owner) <= MOST_ROWS:
        return None
    wanted = frozenset(_wanted(project, experiment, dataset))
    return names_in(handle, matching(owner), column=_COLUMNS[dataset], until=wanted) if wanted else wanted


def delivered_names(sources: Collection[Source], dataset: Dataset) -> frozenset[str] | None:
    """The names that mapped sources deliver, where configuration alone says so; else None.

    >>> purchases = Source(format="csv", location="a", constants={"metric_name": "purchase"})
    >>> sorted(delivered_names([purchases], "outcomes"))
    ['purchase']
    >>> delivered_names([purchases, Source(format="csv", location="b")], "outcomes") is None
    True
    """
    names: set[str] = set()
    for source in sources:
        constant = source.constants.get(_COLUMNS[dataset])
        if constant is None and not source.metrics:
            return None
        names |= {metric.name for metric in source.metrics} if source.metrics else {str(constant)}
    return frozenset(names) if names else None


def _wanted(project: Project, experiment: Experiment, dataset: str) -> Iterator[str]:
    if dataset == "attributes":
        yield from experiment.attributes_read
        return
    for metric in project.metrics_of(experiment):
        if not metric.may_be_absent:
            yield from metric.sources


def _sentences(project: Project, name: str, dataset: str, found: Collection[str], where: str) -> Iterator[str]:
    experiment = project.experiments[name]
    file = f"{project.profile.experiments_dir}/{name}.yaml"
    if dataset == "attributes":
        for dimension in experiment.attributes_read:
            if dimension not in found:
                shown = ", ".join(sorted(found)) or "none at all"
                yield (
                    f"{file}: {where}dimensions: no attribute has dimension '{dimension}'; found {shown}"
                    f"{suggest(dimension, found)}"
                )
        return
    for metric in project.metrics_of(experiment):
        missing = [source for source in metric.sources if source not in found]
        if missing and not metric.may_be_absent:
            yield f"{file}: {where}metrics: '{metric.name}': {absent_sentence(missing, found)}"
