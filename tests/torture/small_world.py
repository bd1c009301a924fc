"""A world of hand-made sums in which the stages of arithmetic run; it needs no Spark."""

from __future__ import annotations

from pathlib import Path

from tests.published_lake import published_lake
from tests.torture.invariants import ANSWERS
from tests.torture.together import copy_rows
from tests.torture.world import World

from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.registry import BY_NAME

_NAMES = ("sync_registry", "analyze_results", "validate_statistics", "check_guardrails")
# The tables by hand that the stages of arithmetic read.
INPUTS = (
    "gold.fct_experiment_metric_statistics",
    "gold.fct_experiment_quality_metrics_daily",
    "silver.fact_assignment_canonical",
    "gold.fct_experiment_cohort",
    "gold.fct_experiment_unit_outcomes",
)
ARITHMETIC = tuple(BY_NAME[name] for name in _NAMES)


def small_world(folder: Path) -> World:
    """A published experiment, and the answers of another one beside it in the same tables."""
    project, plan = published_lake(folder)
    world = World(project, dt=plan.dt, one="exp_test", two="exp_other", plan=ARITHMETIC)
    for name in ANSWERS:
        if TABLES[name].engine == "pyiceberg":
            copy_rows(world, name, world.two)
    return world
