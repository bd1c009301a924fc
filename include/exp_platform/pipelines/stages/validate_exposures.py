"""J2: judge every exposure event and every user, measure each day, and say which days can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING

from exp_platform.quality.outcome_volume import outcome_verdicts
from exp_platform.quality.verdicts import Verdict, exposure_verdicts
from exp_platform.status import CheckStatus
from exp_platform.transforms.exposures import exposure_events, judge_exposures, validate_users
from exp_platform.transforms.quality_daily import daily_outcome_volume, daily_quality

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

ASSIGNMENTS = "silver.fact_assignment_canonical"
EVENTS = "silver.fact_exposure"
USERS = "silver.int_experiment_exposure_validation"
DAILY = "gold.fct_experiment_quality_metrics_daily"


def run(ctx: StageContext) -> None:
    """Publish exposure events, users, daily measures and verdicts, each from what was published before it."""
    experiment = ctx.experiment
    assignments = ctx.read(ASSIGNMENTS)
    judged = judge_exposures(
        ctx.read("exp.exposures"),
        assignments,
        start_ts=experiment.start_ts,
        end_ts=experiment.end_ts,
        cutoff=ctx.cutoff,
        exposure_window_hours=experiment.exposure_window_hours,
    )
    if not ctx.still_holds(EVENTS):
        ctx.publish_large(EVENTS, exposure_events(judged))
    if not ctx.still_holds(USERS):
        ctx.publish_large(USERS, validate_users(judged, assignments))
    if not ctx.still_holds(DAILY):
        ctx.publish(DAILY, daily_quality(assignments, ctx.read(USERS)))
    verdicts = judge(ctx, _outcome_volume(ctx))
    rows = [{"experiment_id": ctx.experiment_id} | asdict(verdict) for verdict in verdicts]
    ctx.publish("gold.fct_experiment_exposure_quality_daily", rows)
    for verdict in verdicts:
        if verdict.status is CheckStatus.FAIL:
            ctx.log(f"{verdict.check_name} fails on {verdict.date}: {verdict.detail}")


def judge(ctx: StageContext, volume: Mapping[tuple[str, date], int]) -> list[Verdict]:
    """The verdicts on the daily measures that this run has published, and on the outcomes' arrival."""
    experiment = ctx.experiment
    settings = ctx.project.quality_of(experiment)
    exposures = exposure_verdicts(
        ctx.read_arrow(DAILY).to_pylist(),
        cutoff=ctx.cutoff,
        settings=settings,
        exposure_window_hours=experiment.exposure_window_hours,
        assignment_source=experiment.assignment_source,
        exposures_needed=experiment.analysis_mode == "exposed",
    )
    start, end = experiment.start_ts.date(), experiment.end_ts.date()
    return exposures + outcome_verdicts(volume, start=start, end=end, dt=ctx.dt, settings=settings)


def _outcome_volume(ctx: StageContext) -> dict[tuple[str, date], int]:
    """Events by metric and day of the sources that this experiment's metrics read."""
    sources = sorted({source for metric in ctx.metrics for source in metric.sources})
    events = daily_outcome_volume(
        ctx.read("exp.outcomes"), sources, start_ts=ctx.experiment.start_ts, cutoff=ctx.cutoff
    )
    return {(row["metric_name"], row["date"]): row["events"] for row in events.collect()}
