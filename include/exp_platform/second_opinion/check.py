"""Check an experiment's latest run: compute some of its cells again, compare, and put the verdict where people look."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from exp_platform.alerts.book import record
from exp_platform.alerts.deliver import links_of
from exp_platform.alerts.model import Alert, second_opinion_alert
from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Metric
from exp_platform.errors import ConfigError, FencedConflict, Superseded
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, DECISION, METRIC_STATISTICS, PANEL_STATISTICS
from exp_platform.lake.tables.streams import STREAM_TABLES
from exp_platform.ledger import claim, manifest
from exp_platform.ledger.second_opinions import NOTHING, SecondOpinion, last_opinion, opinion_rows, write_opinion
from exp_platform.operations.past_run import PastRun, find_past_run
from exp_platform.operations.reproduce import configuration_of
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.second_opinion.cells import ALL, TOLERANCE, Cell
from exp_platform.second_opinion.checked_histograms import compare_histograms, compare_levels, histograms
from exp_platform.second_opinion.checked_panels import compare_panel, has_panel, make_panel
from exp_platform.second_opinion.compare import compare_effects, compare_sums, users_of
from exp_platform.second_opinion.raw_events import NotChecked, Pinned, load_events
from exp_platform.second_opinion.recompute import make_users, recompute
from exp_platform.second_opinion.spine import Oracle
from exp_platform.version import code_version

Say = Callable[[str], None]
CELLS = 20  # metric × arm, for each experiment and night
MEMORY = "2GB"  # beyond it DuckDB spills to its temporary folder
REASON = "second_opinion_failed"
UNCOVERED = (
    "what rounding took from each sum, and caps. Not counted: which users are in a bucket (buckets are compared added "
    "up), aggregates and values by day; intervals and p follow from the sums, and the tests check them"
)


@dataclass(frozen=True)
class Checked:
    """The verdict on the latest run of one experiment, and whether memo and decision show it."""

    experiment_id: str
    opinion: SecondOpinion
    shown: bool


def check_experiment(
    project: Project, experiment_id: str, *, cells: int = CELLS, say: Say = print, now: datetime | None = None
) -> Checked:
    """Check the latest run, record the verdict, alert about a difference, and write decision and memo again."""
    at = now or datetime.now(UTC)
    ensure_tables(project)
    past = latest_run(project, experiment_id)
    found, note = cells_of(project, past, cells)
    rows = [_row(past, at, cell) for cell in found] or [_row(past, at, Cell(NOTHING, NOTHING), note)]
    write_opinion(project, rows)
    opinion = last_opinion(opinion_rows(project, experiment_id), past.run_id, past.dt)
    assert opinion is not None
    say(f"{experiment_id}, run {past.run_id} as of {past.dt}: {opinion.sentence}")
    if note:
        say(f"this time nothing could be checked: {note}")
    elif opinion.compared:
        say(f"{opinion.not_checked:,} further numbers have no second version: {UNCOVERED}")
    for cell in found:
        for example in cell.examples:
            say(f"  {cell.metric_name} in {cell.variant_id}: {example}")
    if opinion.differ:
        alert = second_opinion_alert(experiment_id, past.dt, opinion.metrics, opinion.sentence, opinion.detail)
        record(project, [alert], past.run_id, at, links_of(project, experiment_id))
    return Checked(experiment_id, opinion, _show(project, past, opinion, say))


def alert_of(checked: Checked) -> Alert:
    """The alert about a difference, for whoever sends it."""
    one = checked.opinion
    return second_opinion_alert(checked.experiment_id, one.dt, one.metrics, one.sentence, one.detail)


def published_experiments(project: Project, *, concluded: bool = True) -> list[str]:
    """The experiments of the registry that have a decision, sorted; on demand without those that are concluded."""
    ensure_tables(project)
    known = {row["experiment_id"] for row in read_rows(load_handle(project, DECISION), {"variant_id": ALL})}
    return sorted(
        name for name, one in project.experiments.items() if name in known and (concluded or one.status != "concluded")
    )


def latest_run(project: Project, experiment_id: str) -> PastRun:
    """The run behind the experiment's latest decision."""
    project.experiment(experiment_id)
    rows = read_rows(load_handle(project, DECISION), {"experiment_id": experiment_id, "variant_id": ALL})
    if not rows:
        raise ConfigError(f"{experiment_id} has no published decision yet: `exp run {experiment_id}` makes one")
    return find_past_run(project, max(rows, key=lambda row: row["dt"])["run_id"])


def cells_of(project: Project, past: PastRun, cells: int) -> tuple[list[Cell], str]:
    """The compared cells of a run, or none and the reason why nothing could be checked."""
    configured, notes = configuration_of(project, past)
    if configured.config_hash(configured.experiment(past.experiment_id)) != past.config_hash:
        return [], notes[-1]
    try:
        with tempfile.TemporaryDirectory(prefix="exp_second_opinion_") as folder:
            return _computed(configured, past, cells, Path(folder)), ""
    except NotChecked as reason:
        return [], str(reason)


def chosen_metrics(
    metrics: Sequence[Metric], deciding: Sequence[str], cells: int, arms: int, seed: str
) -> list[Metric]:
    """As many metrics as fit into the cells: those that decide first, then others, another choice each day."""

    def rank(metric: Metric) -> tuple[bool, str]:
        return metric.name not in deciding, hashlib.sha256(f"{seed}/{metric.name}".encode()).hexdigest()

    return sorted(metrics, key=rank)[: max(cells // max(arms, 1), 1)]


def _computed(project: Project, past: PastRun, cells: int, folder: Path) -> list[Cell]:
    experiment = project.experiment(past.experiment_id)
    metrics = project.metrics_of(experiment)
    arms = [variant.id for variant in experiment.variants if variant.is_live]
    deciding = [name for name in (experiment.primary_metric, *(g.metric for g in experiment.guardrails)) if name]
    chosen = chosen_metrics(metrics, deciding, cells, len(arms), past.dt.isoformat())
    config: dict[str, Any] = {"memory_limit": MEMORY, "temp_directory": str(folder / "spill"), "threads": 2}
    run = Run(project, past.experiment_id, past.dt, past.run_id)
    with duckdb.connect(str(folder / "events.duckdb"), config=config) as db:
        db.execute("SET TimeZone = 'UTC'")
        load_events(db, project, experiment, _pinned(project, past))
        oracle = make_users(db, experiment, run.cutoff)
        return [cell for metric in chosen for cell in _compared(project, past, oracle, experiment, metric, arms)]


def _compared(
    project: Project, past: PastRun, oracle: Oracle, experiment: Experiment, metric: Metric, arms: Sequence[str]
) -> list[Cell]:
    """The cells of one metric: its sums, its results, and its histograms and panel where it has them."""
    control = next(variant.id for variant in experiment.variants if variant.is_control)
    again = recompute(oracle, metric)
    sums = _published(project, past, METRIC_STATISTICS, metric)
    cells = compare_sums(metric, arms, sums, again)
    results = _published(project, past, ANALYSIS_RESULTS, metric)
    if metric.estimand == "quantile":
        bins = histograms(oracle, metric)
        exact = "y" not in again.inexact
        compare_histograms(cells, sums, bins, exact=exact, scale=again.slack(1, 1) / TOLERANCE)
        compare_levels(metric, control, cells, results, bins, users_of(again))
    else:
        compare_effects(metric, control, cells, results, again)
    if has_panel(oracle, metric):
        panel = _published(project, past, PANEL_STATISTICS, metric)
        compare_panel(cells, panel, make_panel(oracle, metric, experiment.cluster))
    return list(cells.values())


def _pinned(project: Project, past: PastRun) -> Pinned:
    rows = manifest.run_rows(project, past.experiment_id, past.run_id)
    snapshots = {table: pin for table in TABLES if table.startswith("exp.") and (pin := past.pins.of(table))}
    ingested = [row["at"] for row in rows if row["stage"] == "ingest_events"]
    if not ingested and not any(table in STREAM_TABLES for table in snapshots):
        raise NotChecked("the run has ingested nothing itself")
    ingested = ingested or [min(row["at"] for row in rows)]  # a run that reads streams alone has no raw file
    return Pinned(max(ingested), snapshots)


def _published(project: Project, past: PastRun, table: str, metric: Metric) -> list[dict[str, Any]]:
    """The run's rows of one metric as people see them now; those of a table without dt at the run's own snapshot."""
    handle = load_handle(project, table)
    key: dict[str, Any] = {"experiment_id": past.experiment_id, "metric_name": metric.name}
    if TABLES[table].has_dt:
        key["dt"] = past.dt
    pinned = past.pins.published.get(table)
    now = handle.current_snapshot()
    if now is None or pinned is None:
        raise NotChecked(f"the run has published nothing in {table}")
    snapshot = now.snapshot_id if TABLES[table].has_dt or handle.snapshot_by_id(pinned) is None else pinned
    found: pa.Table = read_arrow(handle, TABLES[table], snapshot, key)
    return list(found.to_pylist(maps_as_pydicts="strict"))


def _row(past: PastRun, at: datetime, cell: Cell, note: str = "") -> dict[str, Any]:
    return {
        "experiment_id": past.experiment_id,
        "run_id": past.run_id,
        "dt": past.dt,
        "metric_name": cell.metric_name,
        "variant_id": cell.variant_id,
        "compared": cell.compared,
        "differ": cell.differ,
        "not_checked": cell.not_checked,
        "detail": note or "; ".join(f"{cell.metric_name} in {cell.variant_id}: {one}" for one in cell.examples),
        "code_version": code_version(),
        "checked_at": at,
    }


def _show(project: Project, past: PastRun, opinion: SecondOpinion, say: Say) -> bool:
    """Write the memo again, and the decision where the verdict changes the trust; False when a newer run does it."""
    configured, _ = configuration_of(project, past)
    experiment = configured.experiment(past.experiment_id)
    if configured.config_hash(experiment) != past.config_hash:
        say("the configuration has changed since: the next run's memo will show the verdict")
        return False
    override = experiment.analysis_mode != project.experiment(past.experiment_id).analysis_mode
    mode = experiment.analysis_mode if override else None
    run = Run(configured, past.experiment_id, past.dt, past.run_id, analysis_mode=mode, started_by="canary")
    key = {"experiment_id": past.experiment_id, "dt": past.dt, "variant_id": ALL}
    reasons = [reason for row in read_rows(load_handle(project, DECISION), key) for reason in row["reasons"]]
    distrusted = any(reason.startswith(REASON) for reason in reasons)
    stages = ["check_guardrails"] * (distrusted != bool(opinion.differ)) + ["write_memo"]
    try:
        holder = claim.current_claim(project, past.experiment_id)
        if holder is not None and holder.run_id != past.run_id:
            raise Superseded(f"superseded by run {holder.run_id}")
        for name in stages:
            run_stage(run, BY_NAME[name], say=lambda line: say(f"  {line}"))
    except (Superseded, FencedConflict) as taken:
        say(f"a newer run is at work, and its own memo will show the verdict ({taken})")
        return False
    return True
