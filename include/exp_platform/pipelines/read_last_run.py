"""The last run of an earlier day, beside this one: its numbers, its configuration, and the events that landed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import And, EqualTo, LessThan

from exp_platform.lake.changes import untouched
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, DECISION, INGESTED_FILES, RUN_MANIFEST
from exp_platform.ledger import manifest
from exp_platform.ledger.configurations import (
    content_of,
    definitions_differ,
    kept_configuration,
    settings_differ,
)
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.registry import EVENTS
from exp_platform.results.last_run import Files, SinceLastRun, metrics_since
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.series_points import EffectSeries
from exp_platform.schemas import load_schema

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

Row = Mapping[str, Any]
ALL = "all"


def since_last_run(
    ctx: StageContext, plan: AnalysisPlan, results: Sequence[Row], effects: Sequence[EffectSeries]
) -> SinceLastRun | None:
    """The comparison with the last run of the day before that has numbers; None where there is none."""
    decisions = ctx.read.arrow(DECISION, all_dts=True).to_pylist()
    days = sorted({row["dt"] for row in decisions if row["dt"] < ctx.run.dt})
    if not days:
        return None
    day = days[-1]
    before = {row["variant_id"]: row for row in decisions if row["dt"] == day}
    summary = before[ALL]
    mine = And(EqualTo("experiment_id", ctx.run.experiment_id), EqualTo("dt", day.isoformat()))
    handle = ctx.read.handle(ANALYSIS_RESULTS)
    old = handle.scan(row_filter=And(mine, EqualTo("is_deciding", True))).to_arrow().to_pylist()
    run_rows = ctx.read.rows(RUN_MANIFEST, run_id=summary["run_id"])
    settings, definitions = _configuration(ctx, run_rows)
    return SinceLastRun(
        run_id=summary["run_id"],
        dt=day,
        decisions={arm: row["decision"] for arm, row in before.items()},
        trust=summary["trust"],
        interval=summary["interval_in_force"],
        metrics=metrics_since(old, results, effects, plan, summary["interval_in_force"]),
        events=_events(ctx, manifest.pins_of(run_rows), day),
        files=_files(ctx, run_rows),
        settings=settings,
        definitions=definitions,
        code=(summary["code_version"], ctx.run.code_version),
    )


def _configuration(ctx: StageContext, run_rows: Sequence[Row]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The settings and definitions that differ from those of the last run; None where they were not kept."""
    run = ctx.run
    known = run_rows[-1]["config_hash"] if run_rows else ""
    if known == run.config_hash:
        return (), ()
    then = kept_configuration(run.project, run.experiment_id, known) if known else None
    if then is None:
        return None, None
    now = content_of(run.project, run.experiment)
    return tuple(settings_differ(then, now)), tuple(definitions_differ(then, now))


def _events(ctx: StageContext, pins: manifest.Pins, day: date) -> dict[str, int | None] | None:
    """For each dataset by how many the events up to the end of that day have grown; None where they have expired.

    A dataset whose commits since are of others is not counted; counting reads the files that hold the day's end.
    """
    found: dict[str, int | None] = {}
    for table in EVENTS:
        stored = ctx.read.stored_in(table)
        then, now = pins.of(stored), ctx.read.pins.of(stored)
        if then is None or now is None:
            continue
        handle, dataset = ctx.read.handle(table), table.removeprefix("exp.")
        if handle.snapshot_by_id(then) is None:
            return None
        if untouched(handle, ctx.read.owners_of(table), then, now):
            found[dataset] = 0
            continue
        column = load_schema(dataset)["x-event-time"]
        seen = And(ctx.read.row_filter(table), LessThan(column, cutoff(day).isoformat()))
        before, after = (
            handle.scan(row_filter=seen, snapshot_id=snapshot).select(column).count() for snapshot in (then, now)
        )
        found[dataset] = after - before
    return found or None


def _files(ctx: StageContext, run_rows: Sequence[Row]) -> tuple[Files, ...] | None:
    """The raw files that the last run had read and that have changed or gone; None where their list has expired."""
    later = [row["at"] for row in run_rows if row["stage"] not in ("sync_registry", "generate_events", "ingest_events")]
    if not later:
        return None
    handle = ctx.read.handle(INGESTED_FILES)
    at = _snapshot_at(handle, min(later))
    if at is None:
        return None
    mine = EqualTo("experiment_id", ctx.run.experiment_id)
    then = {_path(row): row for row in handle.scan(row_filter=mine, snapshot_id=at).to_arrow().to_pylist()}
    now = {_path(row): row for row in ctx.read.rows(INGESTED_FILES)}
    return tuple(
        Files(row["dataset"], row["path"], row["rows"], now[path]["rows"] if path in now else None)
        for path, row in sorted(then.items())
        if path not in now or _file(now[path]) != _file(row)
    )


def _snapshot_at(handle: Any, when: datetime) -> int | None:
    """The newest snapshot that was there at an instant; None where it has expired."""
    snapshot = handle.snapshot_as_of_timestamp(int(when.timestamp() * 1000))
    return None if snapshot is None else int(snapshot.snapshot_id)


def _path(row: Row) -> tuple[str, str]:
    return row["dataset"], row["path"]


def _file(row: Row) -> tuple[int, str]:
    """The file itself: of a fingerprint `<file>.<contract>` the first half."""
    return row["size"], row["fingerprint"].split(".")[0]
