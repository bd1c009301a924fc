"""J4: the cohort of users that are analysed, and the metrics of each user."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from exp_platform.lake.row_audit import Part
from exp_platform.lake.tables.names import (
    ATTRIBUTES,
    COHORT,
    EXPOSURE_VALIDATION,
    FACT_ASSIGNMENT,
    OUTCOMES,
    UNIT_OUTCOMES,
)
from exp_platform.pipelines.outcomes_read import far_outcomes, mostly_of_others
from exp_platform.pipelines.reuse.reused_units import DIGESTS, same_cohort, unit_rows
from exp_platform.sums.numbers import in_maps
from exp_platform.transforms.cohort import Unusable, experiment_cohort, without_dimensions
from exp_platform.transforms.cohort_dates import cohort_digests, events_since_first_window
from exp_platform.transforms.joins import hardly_any_other, join_for
from exp_platform.transforms.unit_outcomes import unit_columns
from exp_platform.transforms.unit_partials import Layout

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Publish the cohort, then one row of metrics per included user."""
    publish_cohort(ctx)
    publish_unit_outcomes(ctx)


def publish_cohort(ctx: StageContext) -> None:
    """Publish the cohort, or reuse an earlier one with the same units."""
    answer = ctx.reuse.of(COHORT)
    if answer.is_everything:
        ctx.publish.reused(COHORT, answer)
        return
    experiment = ctx.run.experiment
    cohort = experiment_cohort(
        ctx.read.frame(FACT_ASSIGNMENT),
        ctx.read.frame(EXPOSURE_VALIDATION),
        analysis_mode=experiment.analysis_mode,
        attributes=ctx.read.frame(ATTRIBUTES) if experiment.attributes_read else None,
        dimensions=experiment.attributes_read,
        unusable=Unusable.of(experiment),
    )
    digests = cohort_digests(cohort)
    ctx.reuse.settle(COHORT, same_cohort(ctx, digests))
    ctx.publish(COHORT, cohort, notes={DIGESTS: digests})


def publish_unit_outcomes(ctx: StageContext) -> None:
    """Publish the unit rows: recompute those of the cohort dates that changed, reuse the others."""
    experiment, metrics = ctx.run.experiment, ctx.run.metrics
    layout = Layout.of(metrics, experiment.end_ts)
    answer = unit_rows(ctx, layout)
    if answer.is_everything:
        ctx.publish.reused(UNIT_OUTCOMES, answer)
        return
    outcomes, cohort = ctx.read.frame(OUTCOMES), ctx.read.frame(COHORT)
    far, part = far_outcomes(ctx), None
    if not experiment.attributes_read:
        cohort = without_dimensions(cohort)
    if answer.recompute:
        part = Part("cohort_date", answer.recompute)
        cohort = cohort.where(part.holds())
        outcomes = events_since_first_window(cohort, outcomes, layout)
    if mostly_of_others(ctx):
        outcomes = hardly_any_other(outcomes, cohort.where("included"))
    units = unit_columns(
        cohort,
        outcomes,
        metrics,
        end_ts=experiment.end_ts,
        cutoff=ctx.run.cutoff,
        far=far,
        join=join_for(ctx.read.rows_in(COHORT)),
        excluded=experiment.excluded("outcomes"),
    )
    finish = partial(in_maps, metrics=metrics)
    ctx.publish(UNIT_OUTCOMES, units, finish=finish, part=part, notes={COHORT: ctx.read.snapshot_of(COHORT)})
