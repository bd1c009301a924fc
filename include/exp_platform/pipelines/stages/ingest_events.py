"""Ingest raw files or a team's own events: publish the distinct valid events in `exp.*`, all datasets or none."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from exp_platform.errors import ContractViolation
from exp_platform.ingest import repeats
from exp_platform.ingest.increment import encode_files
from exp_platform.ingest.intake import Intake, intakes_of_experiment
from exp_platform.ingest.problems import Problem, findings, summarise
from exp_platform.ingest.quarantine import keep_first_seen
from exp_platform.ingest.verdict import findings_of, problem_of, rule_findings, rules_shown
from exp_platform.lake.rows import count_rows
from exp_platform.lake.tables.names import INGESTED_FILES, QUARANTINE
from exp_platform.pipelines.examine import FILES_PROPERTY, Examined, all_refused, examine
from exp_platform.pipelines.stream_gate import pass_streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame

    from exp_platform.ingest.increment import IngestedFile
    from exp_platform.ingest.raw_files import RawFile
    from exp_platform.lake.row_audit import Finding
    from exp_platform.lake.staging import Mode
    from exp_platform.pipelines.context import StageContext
    from exp_platform.pipelines.publisher import Pending


def run(ctx: StageContext) -> None:
    """Pin the streams that the experiment reads, then ingest its own datasets."""
    pass_streams(ctx)
    ingest(ctx, intakes_of_experiment(ctx.run.project, ctx.run.experiment))


def ingest(ctx: StageContext, intakes: Sequence[Intake]) -> None:
    """Examine every dataset, then publish all of them; one broken contract stops all and is named in the error."""
    quarantined = _quarantined(ctx)
    examined: list[Examined] = []
    try:
        for intake in intakes:
            examined.append(examine(ctx, intake, quarantined))
            _log(ctx, examined[-1])
        problems = [problem for one in examined for problem in _problems(one)]
        _write_quarantine(ctx, examined, quarantined)
        for one in examined:
            ctx.record.report(one.table, _findings(one, [p for p in problems if p.dataset == one.source.dataset]))
        if problems:
            raise ContractViolation(summarise(problems, ctx.run.experiment_id))
        _publish(ctx, examined)
    finally:
        for one in examined:
            one.release()


def _quarantined(ctx: StageContext) -> DataFrame | None:
    key = {"experiment_id": ctx.run.experiment_id}
    there = count_rows(ctx.read.handle(QUARANTINE), ctx.read.snapshot_of(QUARANTINE), key)
    return ctx.read.frame(QUARANTINE) if there else None


def _problems(one: Examined) -> list[Problem]:
    """The problems of a dataset's files; when the files are sound, the problem of their rows together, if any."""
    if one.problems:
        return one.problems
    limit, is_required = one.intake.max_bad_fraction, one.intake.is_required
    problem = problem_of(one.intake.dataset, one.source.location, one.tally, limit, is_required)
    return [problem] if problem else []


def _findings(one: Examined, problems: list[Problem]) -> list[Finding]:
    if problems:
        return findings(problems) + rule_findings(one.tally)
    return findings_of(one.tally, one.plan, one.extra_columns, one.intake.late_days)


def _write_quarantine(ctx: StageContext, examined: list[Examined], quarantined: DataFrame | None) -> None:
    """Publish the quarantine entries for the files now present; a dataset with unreadable files keeps its entries."""
    parts = []
    for one in examined:
        if one.problems and quarantined is not None:
            parts.append(quarantined.where(F.col("dataset") == F.lit(one.source.dataset)))
        elif not one.problems and (entries := all_refused(one, quarantined)) is not None:
            parts.append(entries)
    wanted = reduce(lambda a, b: a.unionByName(b), parts) if parts else None
    if quarantined is None:
        if wanted is not None:
            ctx.publish(QUARANTINE, wanted, inputs=_digest(examined))
        return
    if wanted is None:
        ctx.publish(QUARANTINE, quarantined.limit(0), inputs=_digest(examined))
    elif any(one.refused is not None for one in examined) or wanted.count() != quarantined.count():
        ctx.publish(QUARANTINE, keep_first_seen(wanted, quarantined), inputs=_digest(examined))


def _digest(examined: list[Examined]) -> dict[str, str]:
    """Digest of the files read, by dataset: a run that starts again after files were repaired gets another identity."""
    read = {}
    for one in examined:
        both: list[RawFile | IngestedFile] = [*one.plan.read, *one.files]
        files = sorted((f.path, f.size, f.fingerprint) for f in both)
        read[f"raw.{one.source.dataset}"] = hashlib.sha256(repr(files).encode()).hexdigest()[:16]
    return read


def _publish(ctx: StageContext, examined: list[Examined]) -> None:
    batches: list[tuple[Pending, Mode, Mapping[str, str], Mapping[str, str]]] = []
    for one in examined:
        if one.pending is None:
            ctx.read.pin(one.table)  # nothing to write: pin the events that the run's later stages read
            continue
        mode: Mode = "append" if one.plan.mode == "append" else "overwrite"
        files = {FILES_PROPERTY: encode_files(one.read_files)}
        if one.repeats:
            files[repeats.PROPERTY] = repeats.encode(one.repeats)
        batches.append((one.pending, mode, _digest([one]), files))
    ctx.publish.all_or_none(batches)
    _record_files(ctx, [one for one in examined if one.pending is not None or one.must_record])


def _record_files(ctx: StageContext, examined: list[Examined]) -> None:
    """Rewrite ops.ingested_files from the tables' last snapshots, so that a run repairs what a killed one left out."""
    if not examined:
        return
    datasets = tuple(one.source.dataset for one in examined)
    before = {(row["dataset"], row["path"]): row for row in ctx.read.rows(INGESTED_FILES, dataset=datasets)}
    rows: list[dict[str, Any]] = []
    for one in examined:
        just_read = {file.path for file in one.read_files}
        for file in one.files:
            known = before.get((one.source.dataset, file.path))
            origin = {"run_id": ctx.run.run_id, "ingested_at": ctx.now}
            if known is not None and file.path not in just_read:
                origin = {key: known[key] for key in origin}
            ids = {"experiment_id": ctx.run.experiment_id, "dataset": one.source.dataset}
            rows.append(ids | asdict(file) | origin)
    ctx.publish.replace(INGESTED_FILES, rows, dataset=datasets)


# --- lines of the task log -----------------------------------------------------------------------------------------


def _log(ctx: StageContext, one: Examined) -> None:
    name, tally, plan = one.source.dataset, one.tally, one.plan
    if plan.mode == "whole" and one.known:
        ctx.log(f"{name}: read every file again: {plan.reason}")
    ctx.log(f"{name}: read {len(plan.read)} files, reused {len(plan.unchanged)} files, at {one.source.location}")
    if one.problems or not tally.rows:
        return
    ctx.log(
        f"{name}: {tally.rows:,} rows in the files now present, {tally.duplicates:,} exact duplicates dropped, "
        f"{tally.refused:,} refused, {tally.valid_distinct:,} distinct valid events"
    )
    if tally.late:
        ctx.log(f"{name}: {tally.late:,} added events arrived late; they count like all others")
    if tally.by_rule:
        where = f"experiment_id = '{ctx.run.experiment_id}' AND dataset = '{name}'"
        ctx.log(f"{name}: refused by {rules_shown(tally)}; see SELECT * FROM iceberg.ops.quarantine WHERE {where}")  # noqa: S608  shown to a person, not run; the id is checked
