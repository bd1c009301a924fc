"""J2: validate every exposure event and user, measure each day's quality, and judge which days can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from exp_platform.lake.tables.names import (
    EXPOSURE_QUALITY_DAILY,
    EXPOSURE_VALIDATION,
    EXPOSURES,
    FACT_ASSIGNMENT,
    FACT_EXPOSURE,
    OUTCOMES,
    QUALITY_METRICS_DAILY,
)
from exp_platform.quality.outcome_volume import outcome_verdicts
from exp_platform.quality.verdicts import Verdict, exposure_verdicts
from exp_platform.status import CheckStatus
from exp_platform.transforms.exposures import exposure_events, judge_exposures, validate_users
from exp_platform.transforms.quality_daily import daily_outcome_volume, daily_quality

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Publish exposure events, exposed users, daily measures and verdicts; each builds on the one before."""
    experiment = ctx.run.experiment

    @cache
    def judged() -> DataFrame:
        return judge_exposures(
            ctx.read.frame(EXPOSURES),
            ctx.read.frame(FACT_ASSIGNMENT),
            start_ts=experiment.start_ts,
            end_ts=experiment.end_ts,
            cutoff=ctx.run.cutoff,
            exposure_window_hours=experiment.exposure_window_hours,
            excluded=experiment.excluded("exposures"),
        )

    def verdict_rows() -> list[dict[str, Any]]:
        verdicts = judge(ctx, _outcome_volume(ctx))
        for verdict in verdicts:
            if verdict.status is CheckStatus.FAIL:
                ctx.log(f"{verdict.check_name} fails on {verdict.date}: {verdict.detail}")
        return [{"experiment_id": ctx.run.experiment_id} | asdict(verdict) for verdict in verdicts]

    ctx.publish(FACT_EXPOSURE, lambda: exposure_events(judged()))
    ctx.publish(EXPOSURE_VALIDATION, lambda: validate_users(judged(), ctx.read.frame(FACT_ASSIGNMENT)))
    ctx.publish(
        QUALITY_METRICS_DAILY,
        lambda: daily_quality(ctx.read.frame(FACT_ASSIGNMENT), ctx.read.frame(EXPOSURE_VALIDATION)),
    )
    ctx.publish(EXPOSURE_QUALITY_DAILY, verdict_rows)


def judge(ctx: StageContext, volume: Mapping[tuple[str, date], int]) -> list[Verdict]:
    """The verdicts on the daily exposure quality that this run has published, and on the daily volume of outcomes."""
    experiment = ctx.run.experiment
    settings = ctx.run.project.quality_of(experiment)
    exposures = exposure_verdicts(
        ctx.read.arrow(QUALITY_METRICS_DAILY).to_pylist(),
        cutoff=ctx.run.cutoff,
        settings=settings,
        exposure_window_hours=experiment.exposure_window_hours,
        assignment_source=experiment.assignment_source,
        exposures_needed=experiment.analysis_mode == "exposed",
        excluded_assignments=experiment.excluded("assignments"),
        excluded_exposures=experiment.excluded("exposures"),
    )
    if experiment.exposure_source == "none":
        exposures = [verdict for verdict in exposures if verdict.check_name == "conflicted_assignment"]
    outcomes = outcome_verdicts(
        volume,
        start=experiment.start_ts.date(),
        end=experiment.end_ts.date(),
        dt=ctx.run.dt,
        settings=settings,
        excluded=experiment.excluded("outcomes"),
    )
    return exposures + outcomes


def _outcome_volume(ctx: StageContext) -> dict[tuple[str, date], int]:
    """(source, day) -> number of outcome events, for the sources that this experiment's metrics read."""
    sources = sorted({source for metric in ctx.run.metrics for source in metric.sources})
    events = daily_outcome_volume(
        ctx.read.frame(OUTCOMES), sources, start_ts=ctx.run.experiment.start_ts, cutoff=ctx.run.cutoff
    )
    return {(row["metric_name"], row["date"]): row["events"] for row in events.collect()}
