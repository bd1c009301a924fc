"""J4: who is analysed, and the metrics of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.transforms.cohort import experiment_cohort
from exp_platform.transforms.unit_outcomes import unit_outcomes
from exp_platform.transforms.unit_partials import has_far_values

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

COHORT = "gold.fct_experiment_cohort"
UNIT_OUTCOMES = "gold.fct_experiment_unit_outcomes"


def run(ctx: StageContext) -> None:
    """Read assignments, exposures and outcomes; publish the cohort, then one row of metrics per included user."""
    experiment = ctx.experiment
    cohort = experiment_cohort(
        ctx.read("silver.fact_assignment_canonical"),
        ctx.read("silver.int_experiment_exposure_validation"),
        analysis_mode=experiment.analysis_mode,
        attributes=ctx.read("exp.attributes") if experiment.dimensions else None,
        dimensions=experiment.dimensions,
    )
    ctx.publish(COHORT, cohort)
    outcomes = ctx.read("exp.outcomes")
    units = unit_outcomes(
        ctx.read(COHORT),
        outcomes,
        ctx.metrics,
        end_ts=experiment.end_ts,
        cutoff=ctx.cutoff,
        far=has_far_values(outcomes),
    )
    ctx.publish(UNIT_OUTCOMES, units)
