"""Read from the lake what planning needs: the latest statistics of a metric, and of which run they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.key_rules import suggest
from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Guardrail, Metric
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.lake.catalog import existing_handle
from exp_platform.lake.publication import publication_seen_at
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import METRIC_STATISTICS
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.planning import Moments, chance_without_harm, moments_of
from exp_platform.stats.effect import POWER

TABLE = TABLES[METRIC_STATISTICS]


@dataclass(frozen=True)
class Source:
    """One experiment's statistics of a metric, and the day that they are as of."""

    experiment: Experiment
    dt: date
    rows: pa.Table


def moments_in_lake(project: Project, metric: str, like: str | None = None) -> Moments:
    """The moments of a metric in the latest run that holds it, or in an experiment's; one sentence where none does."""
    if metric not in project.metrics:
        raise ConfigError(f"metric '{metric}' not found{suggest(metric, project.metrics)}")
    if like is not None:
        _refuse_unlike(project, metric, project.experiment(like))
    handle = existing_handle(project, METRIC_STATISTICS)
    sources = [] if handle is None else _sources(project, handle, metric)
    if like is not None:
        sources = [source for source in sources if source.experiment.experiment_id == like]
    if not sources:
        who = like or "no experiment drawn at random"
        raise ContractViolation(
            f"{METRIC_STATISTICS}: {who} has {'no ' if like else ''}statistics of metric '{metric}' yet: "
            f"`exp run {like or 'EXPERIMENT'}`"
        )
    return _moments(project, metric, max(sources, key=lambda source: source.dt))


def margin_warnings(project: Project) -> Iterator[str]:
    """A sentence for each guardrail whose margin would seldom be shown at the planned size, though nothing is harmed.

    Only of experiments that may still change, and only where the lake holds the guardrail's metric.
    """
    handle = existing_handle(project, METRIC_STATISTICS)
    if handle is None:
        return
    found: dict[str, list[Source]] = {}
    for experiment_id, experiment in sorted(project.experiments.items()):
        if experiment.status not in ("draft", "running") or experiment.design == "rollout":
            continue
        for guardrail in experiment.guardrails:
            if guardrail.metric not in found:
                found[guardrail.metric] = _sources(project, handle, guardrail.metric)
            sources = found[guardrail.metric]
            own = [source for source in sources if source.experiment.experiment_id == experiment_id]
            if sources:
                with suppress(ContractViolation):  # no arm has an answer: nothing is known
                    best = max(own or sources, key=lambda source: source.dt)
                    yield from margin_warning(project, experiment, guardrail, _moments(project, guardrail.metric, best))


def margin_warning(project: Project, experiment: Experiment, guardrail: Guardrail, moments: Moments) -> Iterator[str]:
    """The sentence on one guardrail, if its least favourable arm passes in less than 80% without harm."""
    metric = project.metrics[guardrail.metric]
    planned = experiment.planned_users
    chance = min(
        chance_without_harm(
            moments,
            guardrail,
            metric,
            (planned * experiment.shares[experiment.control.id], planned * experiment.shares[arm.id]),
            experiment.alpha,
        )
        for arm in experiment.treatments
    )
    if chance < POWER:
        file = f"{project.profile.experiments_dir}/{experiment.experiment_id}.yaml"
        of_control = "" if guardrail.max_relative_harm is None else " of control"
        yield (
            f"{file}: guardrails: '{metric.name}' passes in {chance:.0%} though nothing is harmed: {planned:,} planned "
            f"users seldom show a margin of {guardrail.margin:.3g}{of_control} (moments of {moments.experiment_id} as "
            f"of {moments.dt}); plan more users, or allow a larger margin"
        )


def _refuse_unlike(project: Project, metric: str, experiment: Experiment) -> None:
    named = [m.name for m in project.metrics_of(experiment)]
    if metric not in named:
        raise ConfigError(f"--like: metric '{metric}' is none of {experiment.experiment_id}'s: {', '.join(named)}")
    if experiment.design == "rollout":
        raise ConfigError(
            f"--like: {experiment.experiment_id} is a rollout, which difference in differences decides: name an "
            "experiment whose arms were drawn at random"
        )


def _sources(project: Project, handle: IcebergTable, metric: str) -> list[Source]:
    """The statistics of a metric by experiment: whole users, in those that are configured and drawn at random."""
    snapshot = handle.current_snapshot()
    if snapshot is None:
        return []
    rows = read_arrow(handle, TABLE, snapshot.snapshot_id, {"metric_name": metric, "segment": "all"})
    found = []
    for experiment_id in sorted(pc.unique(rows["experiment_id"]).to_pylist()):
        experiment = project.experiments.get(experiment_id)
        if experiment is not None and experiment.design != "rollout":
            mine = rows.filter(pc.equal(rows["experiment_id"], experiment_id))
            found.append(Source(experiment, _as_of(handle, snapshot.snapshot_id, experiment_id, mine), mine))
    return found


def _as_of(handle: IcebergTable, snapshot_id: int, experiment_id: str, rows: pa.Table) -> date:
    """The dt of the publication; where maintenance has expired it, the last cohort date."""
    published = publication_seen_at(handle, TABLE, Scope(experiment_id, date.min), snapshot_id)
    if published is not None and published.summary is not None:
        return date.fromisoformat(published.summary.additional_properties["dt"])
    last: date = pc.max(rows["cohort_date"]).as_py()
    return last


def _moments(project: Project, metric: str, source: Source) -> Moments:
    cutoff = datetime(source.dt.year, source.dt.month, source.dt.day, tzinfo=UTC) + timedelta(days=1)
    plan = AnalysisPlan(source.experiment, project.metrics_of(source.experiment), source.dt, cutoff)
    return moments_of(source.rows, _contract(project, metric, plan), plan)


def _contract(project: Project, metric: str, plan: AnalysisPlan) -> Metric:
    """The contract as the experiment reads it; the shared one where the experiment no longer names the metric."""
    return next((m for m in plan.metrics if m.name == metric), project.metrics[metric])
