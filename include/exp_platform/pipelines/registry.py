"""The registry of stages: one list, walked by the DAG `experiment_analysis` and by `run_end_to_end`.

A stage declares the tables that it reads and publishes, and of what each of its tables is made. The declaration is the
identity of a publication: a stage that reads anything else is stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from exp_platform.config.models import Experiment

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

REGISTRY = "exp.experiment_registry"
DIM_EXPERIMENT, DIM_VARIANT = "silver.dim_experiment", "silver.dim_experiment_variant"
ASSIGNMENT_EVENTS, EXPOSURE_EVENTS, OUTCOMES, ATTRIBUTES = EVENTS = (
    *("exp.assignments", "exp.exposures", "exp.outcomes", "exp.attributes"),
)
ASSIGNMENTS = "silver.fact_assignment_canonical"
EXPOSURES = "silver.fact_exposure"
EXPOSED_USERS = "silver.int_experiment_exposure_validation"
DAILY_QUALITY = "gold.fct_experiment_quality_metrics_daily"
QUALITY_VERDICTS = "gold.fct_experiment_exposure_quality_daily"
COHORT = "gold.fct_experiment_cohort"
UNIT_OUTCOMES = "gold.fct_experiment_unit_outcomes"
STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL = "gold.fct_experiment_panel_statistics"
OVERALL_AGGREGATES, DAILY_AGGREGATES = "exp.metric_aggregates_overall", "exp.metric_aggregates_daily"
RESULTS = "exp.analysis_results"
PRETREND_DELTAS, PRETREND_TESTS = "exp.did_pretrend_delta", "exp.did_pretrend_tests"
VALIDATION = "gold.fct_experiment_statistical_validation"
GUARDRAILS = "gold.fct_experiment_guardrail_status"
DECISION = "gold.fct_experiment_decision"
QUARANTINE, INGESTED_FILES = "ops.quarantine", "ops.ingested_files"
MANIFEST, CONTRACT_RESULTS = "ops.run_manifest", "ops.contract_results"


@dataclass(frozen=True)
class Output:
    """One table that a stage publishes, and what its rows are made of."""

    table: str
    made_of: tuple[str, ...] | Callable[[Experiment], tuple[str, ...]] = ()
    by_events: bool = False  # the rows depend on the day only through the events that the day sees

    def inputs(self, experiment: Experiment) -> tuple[str, ...]:
        """The tables whose snapshots identify a publication."""
        return self.made_of(experiment) if callable(self.made_of) else self.made_of


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline; its name is the task id, the file in spark_jobs/ and the module in stages/."""

    name: str
    title: str
    group: str  # where a person finds it in the graph
    after: tuple[str, ...]  # stages whose output it reads
    reads: tuple[str, ...] = ()  # tables; its own outputs need not be named
    outputs: tuple[Output, ...] = ()
    needs_spark: bool = True
    optional: bool = False  # only with generate_synth
    takes: tuple[str, ...] = ()  # names of Options
    refresh: str = ""  # help of --full-refresh, where the stage reuses what an earlier day left

    @property
    def publishes(self) -> tuple[str, ...]:
        """The tables that the stage writes."""
        return tuple(output.table for output in self.outputs)

    @property
    def reuses(self) -> bool:
        """Says that the stage may leave rows of an earlier day in place, so that it can be told not to."""
        return "full_refresh" in self.takes

    def output(self, table: str) -> Output:
        """The declaration of one of its tables; a table that is not declared may not be published."""
        for output in self.outputs:
            if output.table == table:
                return output
        raise UndeclaredTable(
            f"{self.name} publishes {table}, which its entry in pipelines/registry.py does not declare "
            f"(declared: {', '.join(self.publishes) or 'none'})"
        )

    def require_read(self, table: str) -> None:
        """A table that is not declared may not be read: a publication's identity would not know of it."""
        if table not in self.reads and table not in self.publishes:
            raise UndeclaredTable(
                f"{self.name} reads {table}, which its entry in pipelines/registry.py does not declare "
                f"(declared: {', '.join((*self.reads, *self.publishes)) or 'none'})"
            )

    @property
    def run(self) -> Callable[[StageContext], None]:
        """The stage's function; imported here, so that a DAG can read the registry without Spark."""
        function: Callable[[StageContext], None] = import_module(f"exp_platform.pipelines.stages.{self.name}").run
        return function


class UndeclaredTable(TypeError):
    """A stage touches a table that the registry does not name: a fault of the code, found by its first run."""


def _assigning_events(experiment: Experiment) -> tuple[str, ...]:
    return (f"exp.{experiment.assignment_source}",)


def _cohort_inputs(experiment: Experiment) -> tuple[str, ...]:
    return (ASSIGNMENTS, EXPOSED_USERS, *((ATTRIBUTES,) if experiment.dimensions else ()))


STAGES = (
    Stage(
        "sync_registry",
        "Write the configuration to the registry",
        "sources",
        after=(),
        outputs=(Output(REGISTRY), Output(DIM_EXPERIMENT), Output(DIM_VARIANT)),
        needs_spark=False,
    ),
    Stage(
        "generate_events",
        "Generate synthetic events",
        "sources",
        after=("sync_registry",),
        optional=True,
        takes=("seed", "fault"),
    ),
    Stage(
        "ingest_events",
        "Ingest raw events behind their contracts",
        "sources",
        after=("generate_events",),
        reads=(INGESTED_FILES,),
        outputs=(*map(Output, EVENTS), Output(QUARANTINE)),
        takes=("full_refresh",),
        refresh="read every raw file again",
    ),
    Stage(
        "build_assignments",
        "J1: one assignment per user",
        "canonical",
        after=("ingest_events",),
        reads=(ASSIGNMENT_EVENTS, EXPOSURE_EVENTS),
        outputs=(Output(ASSIGNMENTS, _assigning_events, by_events=True),),
        takes=("full_refresh",),
        refresh="compute every assignment again",
    ),
    Stage(
        "validate_exposures",
        "J2: validate exposures, measure and judge their quality",
        "quality",
        after=("build_assignments",),
        reads=(ASSIGNMENTS, EXPOSURE_EVENTS, OUTCOMES),
        outputs=(
            Output(EXPOSURES, (ASSIGNMENTS, EXPOSURE_EVENTS), by_events=True),
            Output(EXPOSED_USERS, (ASSIGNMENTS, EXPOSURE_EVENTS), by_events=True),
            Output(DAILY_QUALITY, (ASSIGNMENTS, EXPOSURE_EVENTS), by_events=True),
            Output(QUALITY_VERDICTS, (ASSIGNMENTS, EXPOSURE_EVENTS, OUTCOMES)),
        ),
        takes=("full_refresh",),
        refresh="judge every exposure again",
    ),
    Stage(
        "build_unit_outcomes",
        "J4: cohort and metrics of each user",
        "metrics",
        after=("validate_exposures",),
        reads=(ASSIGNMENTS, EXPOSED_USERS, ATTRIBUTES, OUTCOMES),
        outputs=(
            Output(COHORT, _cohort_inputs, by_events=True),
            Output(UNIT_OUTCOMES, lambda experiment: (*_cohort_inputs(experiment), OUTCOMES)),
        ),
        takes=("full_refresh",),
        refresh="take all events again",
    ),
    Stage(
        "aggregate_metrics",
        "J5: sufficient statistics",
        "metrics",
        after=("build_unit_outcomes",),
        reads=(COHORT, UNIT_OUTCOMES, OUTCOMES),
        outputs=tuple(
            Output(table, (COHORT, UNIT_OUTCOMES, OUTCOMES))
            for table in (STATISTICS, PANEL, OVERALL_AGGREGATES, DAILY_AGGREGATES)
        ),
        takes=("full_refresh",),
        refresh="take all events again",
    ),
    Stage(
        "analyze_results",
        "J6: effects by A/B, CUPED and difference in differences",
        "results",
        after=("aggregate_metrics",),
        reads=(STATISTICS, PANEL),
        outputs=tuple(Output(table, (STATISTICS, PANEL)) for table in (RESULTS, PRETREND_DELTAS, PRETREND_TESTS)),
        needs_spark=False,
    ),
    Stage(
        "validate_statistics",
        "J7: sample ratio, power, sanity",
        "results",
        after=("analyze_results",),
        reads=(STATISTICS, DAILY_QUALITY, RESULTS, PRETREND_TESTS),
        outputs=(Output(VALIDATION, (STATISTICS, DAILY_QUALITY, RESULTS, PRETREND_TESTS)),),
        needs_spark=False,
    ),
    Stage(
        "check_guardrails",
        "J8: guardrails and decision",
        "results",
        after=("validate_statistics",),
        reads=(RESULTS, PRETREND_TESTS, QUALITY_VERDICTS, VALIDATION),
        outputs=tuple(
            Output(table, (RESULTS, PRETREND_TESTS, QUALITY_VERDICTS, VALIDATION)) for table in (GUARDRAILS, DECISION)
        ),
        needs_spark=False,
    ),
    Stage(
        "write_memo",
        "Write the decision memo",
        "memo",
        after=("check_guardrails",),
        reads=(
            *(DECISION, RESULTS, GUARDRAILS, VALIDATION, QUALITY_VERDICTS, PRETREND_TESTS, PRETREND_DELTAS),
            *(MANIFEST, INGESTED_FILES, QUARANTINE, CONTRACT_RESULTS, *EVENTS),
        ),
        needs_spark=False,
    ),
)

BY_NAME = {stage.name: stage for stage in STAGES}
FIRST = STAGES[0]  # claims the experiment for its run


def stages_for(generate_synth: bool) -> tuple[Stage, ...]:
    """The stages of one run, in order."""
    return tuple(stage for stage in STAGES if generate_synth or not stage.optional)
