"""Ingest one stream: publish its distinct valid events once, for all experiments that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from exp_platform.ingest.intake import Intake, intake_of_stream
from exp_platform.lake.row_audit import Finding
from exp_platform.pipelines.stages.ingest_events import ingest
from exp_platform.pipelines.stream_run import StreamRun
from exp_platform.schemas import LOGS

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

UNKNOWN_IDS = "experiment ids are in the registry"
SHOWN = 5


def run(ctx: StageContext) -> None:
    """Publish the stream's events; in a log, count those of experiments that no registry knows."""
    assert isinstance(ctx.run, StreamRun)
    intake = intake_of_stream(ctx.run.project, ctx.run.stream)
    ingest(ctx, [intake])
    if intake.dataset in LOGS and intake.table in ctx.record.published:
        report_unknown_ids(ctx, intake)


def report_unknown_ids(ctx: StageContext, intake: Intake) -> None:
    """Report the events of experiments that are in no registry; they are kept, since one may be registered later."""
    known = [*ctx.run.project.experiments, *ctx.run.project.broken]
    rows = ctx.read.frame(intake.table).where(~F.col("experiment_id").isin(known))
    found = {row["experiment_id"]: row["count"] for row in rows.groupBy("experiment_id").count().collect()}
    names = sorted(found, key=lambda name: (-found[name], name))
    shown = ", ".join(f"{name} ({found[name]:,})" for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    total, detail = sum(found.values()), ""
    if found:
        detail = f"{len(names)} experiment ids that are in no registry; they wait for one: {shown}{more}"
    ctx.record.report(
        intake.table, [Finding(UNKNOWN_IDS, not found, "warning", total, sample=tuple(names[:SHOWN]), detail=detail)]
    )
    if found:
        ctx.log(f"{intake.dataset}: {total:,} events of {detail}")
