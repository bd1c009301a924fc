"""The registry of stages: one list, walked by the DAG `experiment_analysis` and by `run_end_to_end`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline; its name is the task id, the file in spark_jobs/ and the module in this package."""

    name: str
    title: str
    group: str  # where a person finds it in the graph
    after: tuple[str, ...]  # stages whose output it reads
    publishes: tuple[str, ...] = ()  # tables
    needs_spark: bool = True
    optional: bool = False  # only with generate_synth

    @property
    def run(self) -> Callable[[StageContext], None]:
        """The stage's function; imported here, so that a DAG can read the registry without Spark."""
        function: Callable[[StageContext], None] = import_module(f"{__name__}.{self.name}").run
        return function


STAGES = (
    Stage(
        "sync_registry",
        "Write the configuration to the registry",
        "sources",
        after=(),
        publishes=("exp.experiment_registry", "silver.dim_experiment", "silver.dim_experiment_variant"),
        needs_spark=False,
    ),
    Stage(
        "generate_events",
        "Generate synthetic events",
        "sources",
        after=("sync_registry",),
        optional=True,
    ),
    Stage(
        "ingest_events",
        "Ingest raw events behind their contracts",
        "sources",
        after=("generate_events",),
        publishes=("exp.assignments", "exp.exposures", "exp.outcomes", "exp.attributes"),
    ),
    Stage(
        "build_assignments",
        "J1: one assignment per user",
        "canonical",
        after=("ingest_events",),
        publishes=("silver.fact_assignment_canonical",),
    ),
    Stage(
        "validate_exposures",
        "J2: validate exposures, measure and judge their quality",
        "quality",
        after=("build_assignments",),
        publishes=(
            "silver.fact_exposure",
            "silver.int_experiment_exposure_validation",
            "gold.fct_experiment_quality_metrics_daily",
            "gold.fct_experiment_exposure_quality_daily",
        ),
    ),
    Stage(
        "build_unit_outcomes",
        "J4: cohort and metrics of each user",
        "metrics",
        after=("validate_exposures",),
        publishes=("gold.fct_experiment_cohort", "gold.fct_experiment_unit_outcomes"),
    ),
    Stage(
        "aggregate_metrics",
        "J5: sufficient statistics",
        "metrics",
        after=("build_unit_outcomes",),
        publishes=(
            "gold.fct_experiment_metric_statistics",
            "gold.fct_experiment_panel_statistics",
            "exp.metric_aggregates_overall",
            "exp.metric_aggregates_daily",
        ),
    ),
    Stage(
        "analyze_results",
        "J6: effects by A/B, CUPED and difference in differences",
        "results",
        after=("aggregate_metrics",),
        publishes=("exp.analysis_results", "exp.did_pretrend_delta", "exp.did_pretrend_tests"),
        needs_spark=False,
    ),
    Stage(
        "validate_statistics",
        "J7: sample ratio, power, sanity",
        "results",
        after=("analyze_results",),
        publishes=("gold.fct_experiment_statistical_validation",),
        needs_spark=False,
    ),
    Stage(
        "check_guardrails",
        "J8: guardrails and decision",
        "results",
        after=("validate_statistics",),
        publishes=("gold.fct_experiment_guardrail_status", "gold.fct_experiment_decision"),
        needs_spark=False,
    ),
    Stage(
        "write_memo",
        "Write the decision memo",
        "memo",
        after=("check_guardrails",),
        needs_spark=False,
    ),
)

BY_NAME = {stage.name: stage for stage in STAGES}


def stages_for(generate_synth: bool) -> tuple[Stage, ...]:
    """The stages of one run, in order."""
    return tuple(stage for stage in STAGES if generate_synth or not stage.optional)
