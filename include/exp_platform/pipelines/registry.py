"""The registry of stages: one list, walked by the DAG `experiment_analysis` and by `run_end_to_end`.

A stage declares the tables that it reads and publishes, and the inputs of each table that it publishes. The snapshots
of the declared inputs identify a publication, so a stage that reads an undeclared table is stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from exp_platform.config.models import Experiment
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    ASSIGNMENTS,
    ATTRIBUTES,
    COHORT,
    CONTRACT_RESULTS,
    DECISION,
    DIM_EXPERIMENT,
    DIM_EXPERIMENT_VARIANT,
    EXCLUDED_DAYS,
    EXPERIMENT_REGISTRY,
    EXPOSURE_QUALITY_DAILY,
    EXPOSURE_STATISTICS,
    EXPOSURE_VALIDATION,
    EXPOSURES,
    FACT_ASSIGNMENT,
    FACT_EXPOSURE,
    GUARDRAIL_STATUS,
    INGESTED_FILES,
    LATEST_RESULTS,
    METRIC_AGGREGATES_DAILY,
    METRIC_AGGREGATES_OVERALL,
    METRIC_SERIES,
    METRIC_STATISTICS,
    OUTCOMES,
    PANEL_STATISTICS,
    PRETREND_DELTA,
    PRETREND_TESTS,
    QUALITY_METRICS_DAILY,
    QUARANTINE,
    RUN_MANIFEST,
    SEALED_PLAN,
    SECOND_OPINIONS,
    STATISTICAL_VALIDATION,
    STREAM_ASSIGNMENTS,
    STREAM_ATTRIBUTES,
    STREAM_EXPOSURES,
    STREAM_OUTCOMES,
    UNIT_OUTCOMES,
)

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

EVENTS = (ASSIGNMENTS, EXPOSURES, OUTCOMES, ATTRIBUTES)


@dataclass(frozen=True)
class Output:
    """One table that a stage publishes, and the tables that its rows are made of."""

    table: str
    made_of: tuple[str, ...] | Callable[[Experiment], tuple[str, ...]] = ()
    by_events: bool = False  # True: another dt that sees the same events gives the same rows
    ignores: tuple[str, ...] = ()  # kinds of `exclude`, or acknowledge: a change of them leaves the rows as they are

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
    of_streams: bool = False  # runs once for a stream, under a claim of its own, instead of in each experiment's run
    takes: tuple[str, ...] = ()  # names of Options
    refresh: str = ""  # help of --full-refresh, where the stage reuses what an earlier day left

    @property
    def publishes(self) -> tuple[str, ...]:
        """The tables that the stage writes."""
        return tuple(output.table for output in self.outputs)

    @property
    def reuses(self) -> bool:
        """True when the stage may reuse an earlier run's rows; such a stage takes --full-refresh."""
        return "full_refresh" in self.takes

    def output(self, table: str) -> Output:
        """The declaration of one published table; raises UndeclaredTable for any other."""
        for output in self.outputs:
            if output.table == table:
                return output
        raise UndeclaredTable(
            f"{self.name} publishes {table}, which its entry in pipelines/registry.py does not declare "
            f"(declared: {', '.join(self.publishes) or 'none'}); add the table to the stage's outputs"
        )

    def require_read(self, table: str) -> None:
        """Raise UndeclaredTable for an undeclared table: the identity of a publication would not cover its rows."""
        if table not in self.reads and table not in self.publishes:
            raise UndeclaredTable(
                f"{self.name} reads {table}, which its entry in pipelines/registry.py does not declare "
                f"(declared: {', '.join((*self.reads, *self.publishes)) or 'none'}); add the table to the stage's reads"
            )

    @property
    def run(self) -> Callable[[StageContext], None]:
        """The stage's function; imported here, so that a DAG can read the registry without Spark."""
        function: Callable[[StageContext], None] = import_module(f"exp_platform.pipelines.stages.{self.name}").run
        return function


class UndeclaredTable(TypeError):
    """A stage reads or publishes a table that its registry entry does not declare: a fault of the code."""


def _assigning_events(experiment: Experiment) -> tuple[str, ...]:
    return (f"exp.{experiment.assignment_source}",)


def _cohort_inputs(experiment: Experiment) -> tuple[str, ...]:
    return (FACT_ASSIGNMENT, EXPOSURE_VALIDATION, *((ATTRIBUTES,) if experiment.attributes_read else ()))


def _split_inputs(experiment: Experiment) -> tuple[str, ...]:
    """In intent to treat the unit rows are those of all assigned users; in exposed mode theirs are made of events."""
    if not experiment.split_by_exposure:
        return ()
    spine = (UNIT_OUTCOMES,) if experiment.analysis_mode == "itt" else (FACT_ASSIGNMENT, OUTCOMES)
    return (*spine, EXPOSURE_VALIDATION)


def _counted_inputs(experiment: Experiment) -> tuple[str, ...]:
    return (COHORT, EXPOSURE_VALIDATION) if experiment.exclude else ()


# J1 takes all assignments and J2 measures all of them: who leaves is decided later.
_ACKNOWLEDGED = ("acknowledge",)
_BY_EXPOSURES = ("assignments", "outcomes", *_ACKNOWLEDGED)
_EXCLUDED_LATER = ("exposures", *_BY_EXPOSURES)
_CHECKED = (METRIC_STATISTICS, EXPOSURE_STATISTICS, QUALITY_METRICS_DAILY, ANALYSIS_RESULTS, PRETREND_TESTS)

STAGES = (
    Stage(
        "sync_registry",
        "Write the configuration to the registry",
        "sources",
        after=(),
        reads=(SEALED_PLAN,),
        outputs=(Output(EXPERIMENT_REGISTRY), Output(DIM_EXPERIMENT), Output(DIM_EXPERIMENT_VARIANT)),
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
        reads=(INGESTED_FILES, RUN_MANIFEST),
        outputs=(*map(Output, EVENTS), Output(QUARANTINE)),
        takes=("full_refresh",),
        refresh="read every raw file again",
    ),
    Stage(
        "build_assignments",
        "J1: one assignment per user",
        "canonical",
        after=("ingest_events",),
        reads=(ASSIGNMENTS, EXPOSURES),
        outputs=(Output(FACT_ASSIGNMENT, _assigning_events, by_events=True, ignores=_EXCLUDED_LATER),),
        takes=("full_refresh",),
        refresh="compute every assignment again",
    ),
    Stage(
        "validate_exposures",
        "J2: validate exposures, measure and judge their quality",
        "quality",
        after=("build_assignments",),
        reads=(FACT_ASSIGNMENT, EXPOSURES, OUTCOMES),
        outputs=(
            *(
                Output(table, (FACT_ASSIGNMENT, EXPOSURES), by_events=True, ignores=_BY_EXPOSURES)
                for table in (FACT_EXPOSURE, EXPOSURE_VALIDATION, QUALITY_METRICS_DAILY)
            ),
            Output(EXPOSURE_QUALITY_DAILY, (FACT_ASSIGNMENT, EXPOSURES, OUTCOMES), ignores=_ACKNOWLEDGED),
        ),
        takes=("full_refresh",),
        refresh="judge every exposure again",
    ),
    Stage(
        "build_unit_outcomes",
        "J4: cohort and metrics of each user",
        "metrics",
        after=("validate_exposures",),
        reads=(FACT_ASSIGNMENT, EXPOSURE_VALIDATION, ATTRIBUTES, OUTCOMES),
        outputs=(
            Output(COHORT, _cohort_inputs, by_events=True, ignores=("outcomes", *_ACKNOWLEDGED)),
            Output(UNIT_OUTCOMES, lambda experiment: (*_cohort_inputs(experiment), OUTCOMES), ignores=_ACKNOWLEDGED),
        ),
        takes=("full_refresh",),
        refresh="take all events again",
    ),
    Stage(
        "aggregate_metrics",
        "J5: sufficient statistics",
        "metrics",
        after=("build_unit_outcomes",),
        reads=(COHORT, UNIT_OUTCOMES, OUTCOMES, FACT_ASSIGNMENT, EXPOSURE_VALIDATION),
        outputs=(
            *(
                Output(table, (COHORT, UNIT_OUTCOMES, OUTCOMES), ignores=_ACKNOWLEDGED)
                for table in (
                    METRIC_STATISTICS,
                    PANEL_STATISTICS,
                    METRIC_AGGREGATES_OVERALL,
                    METRIC_AGGREGATES_DAILY,
                    METRIC_SERIES,
                )
            ),
            Output(EXPOSURE_STATISTICS, _split_inputs, ignores=_ACKNOWLEDGED),
            Output(EXCLUDED_DAYS, _counted_inputs, ignores=_ACKNOWLEDGED),
        ),
        takes=("full_refresh",),
        refresh="take all events again",
    ),
    Stage(
        "analyze_results",
        "J6: effects by A/B, CUPED and difference in differences",
        "results",
        after=("aggregate_metrics",),
        reads=(METRIC_STATISTICS, PANEL_STATISTICS, EXPOSURE_STATISTICS, OUTCOMES, SEALED_PLAN),
        outputs=tuple(
            Output(table, (METRIC_STATISTICS, PANEL_STATISTICS, EXPOSURE_STATISTICS))
            for table in (ANALYSIS_RESULTS, PRETREND_DELTA, PRETREND_TESTS)
        ),
        needs_spark=False,
    ),
    Stage(
        "validate_statistics",
        "J7: sample ratio, power, sanity",
        "results",
        after=("analyze_results",),
        reads=(*_CHECKED, OUTCOMES, SEALED_PLAN),
        outputs=(Output(STATISTICAL_VALIDATION, _CHECKED),),
        needs_spark=False,
    ),
    Stage(
        "check_guardrails",
        "J8: guardrails and decision",
        "results",
        after=("validate_statistics",),
        reads=(
            *(ANALYSIS_RESULTS, PRETREND_TESTS, EXPOSURE_QUALITY_DAILY, STATISTICAL_VALIDATION),
            *(SEALED_PLAN, SECOND_OPINIONS),
        ),
        outputs=tuple(
            Output(table, (ANALYSIS_RESULTS, PRETREND_TESTS, EXPOSURE_QUALITY_DAILY, STATISTICAL_VALIDATION))
            for table in (GUARDRAIL_STATUS, DECISION, LATEST_RESULTS)
        ),
        needs_spark=False,
    ),
    Stage(
        "write_memo",
        "Write the decision memo",
        "memo",
        after=("check_guardrails",),
        reads=(
            *(
                DECISION,
                EXCLUDED_DAYS,
                ANALYSIS_RESULTS,
                GUARDRAIL_STATUS,
                STATISTICAL_VALIDATION,
                EXPOSURE_QUALITY_DAILY,
                QUALITY_METRICS_DAILY,
                METRIC_SERIES,
                PRETREND_TESTS,
                PRETREND_DELTA,
            ),
            *(SEALED_PLAN, SECOND_OPINIONS, RUN_MANIFEST, INGESTED_FILES, QUARANTINE, CONTRACT_RESULTS, *EVENTS),
            *(COHORT, QUALITY_METRICS_DAILY, METRIC_STATISTICS, METRIC_AGGREGATES_DAILY, EXPOSURE_VALIDATION),
        ),
        needs_spark=False,
    ),
)

INGEST_STREAMS = Stage(
    "ingest_streams",
    "Ingest a stream of events for all experiments that read it",
    "sources",
    after=(),
    reads=(INGESTED_FILES,),
    outputs=tuple(
        map(Output, (STREAM_ASSIGNMENTS, STREAM_EXPOSURES, STREAM_OUTCOMES, STREAM_ATTRIBUTES, QUARANTINE)),
    ),
    takes=("full_refresh",),
    refresh="read every raw file again",
    of_streams=True,
)

BY_NAME = {stage.name: stage for stage in (*STAGES, INGEST_STREAMS)}
FIRST = STAGES[0]  # claims the experiment for its run


def stages_for(generate_synth: bool) -> tuple[Stage, ...]:
    """The stages of one run, in order."""
    return tuple(stage for stage in STAGES if generate_synth or not stage.optional)
