"""How Spark runs the spine on the lake's own layout: what is shuffled, and what must never be in a plan."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from tests.conftest import make_project
from tests.oracle.spine_data import CUTOFF, END, METRICS
from tests.oracle.test_spine_oracle import awkward
from tests.sessions import session_for

from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.staging import laid_out
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import UNIT_OUTCOMES
from exp_platform.sums.panel_sums import PanelCut
from exp_platform.sums.panels import panels_of
from exp_platform.transforms.aggregates import calendar_part, open_spans
from exp_platform.transforms.cohort import dimension_columns, dimension_names
from exp_platform.transforms.daily_values import panel_part
from exp_platform.transforms.event_histograms import histogram_part
from exp_platform.transforms.event_pass import EventPart, EventPass
from exp_platform.transforms.joins import HASH, SORT, UNITS_IN_MEMORY, join_for
from exp_platform.transforms.unit_outcomes import unit_columns
from exp_platform.transforms.unit_partials import unit_windows

pytestmark = pytest.mark.spark

COHORT = "gold.fct_experiment_cohort"
OUTCOMES = "exp.outcomes"
BANNED = ("CartesianProduct", "BroadcastNestedLoopJoin", "Python", "BatchEval", "DeserializeToObject", "Arrow")


@pytest.fixture(scope="module")
def lake_frames(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Cohort and outcomes of one experiment, read from tables with the declared layout."""
    project = make_project(tmp_path_factory.mktemp("plans"))
    ensure_tables(project, names=(COHORT, OUTCOMES))
    session = session_for(spark, project, compiled=True, broadcast=False)
    cohort, outcomes = awkward(Random(6), users=60).frames(session)
    outcomes = outcomes.selectExpr(
        "*", "cast(null as string) as event_id", "'f' as source_file", "timestamp'2026-01-11' as ingested_at"
    )
    cohort.writeTo(f"iceberg.{COHORT}").append()
    outcomes.writeTo(f"iceberg.{OUTCOMES}").append()
    return tuple(session.table(f"iceberg.{name}").where("experiment_id = 'exp_spine'") for name in (COHORT, OUTCOMES))


def plan_of(frame: Any) -> str:
    """The physical plan as Spark would run it, before adaptive execution changes it."""
    return frame._jdf.queryExecution().executedPlan().toString()


def exchanges(plan: str) -> int:
    """How many shuffles a plan has."""
    return len(re.findall(r"\bExchange\b", plan))


def test_unit_outcomes_shuffle_neither_events_nor_units(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    plan = plan_of(unit_columns(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF))
    assert exchanges(plan) == 0, plan
    assert "BroadcastExchange" not in plan
    # Nor are they on the way to their files: each task has one bucket, in the order of its dates.
    units = laid_out(unit_columns(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF), TABLES[UNIT_OUTCOMES])
    assert exchanges(plan_of(units)) == 0 and "Sort [cohort_date" in plan_of(units)


def all_parts(*dimensions: str) -> list[EventPart]:
    """Panels, calendar and histograms: what J5 makes of events, but for the series, which reads a published table."""
    panels = tuple(dict.fromkeys(panels_of(METRICS).values()))
    return [
        panel_part(panels, PanelCut.of(panels, {}, 100)),
        calendar_part(METRICS, END, dimensions),
        histogram_part(METRICS, END, dimensions),
    ]


def test_no_plan_over_events_has_a_cartesian_product_or_leaves_the_engine(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    names = dimension_names(cohort)
    assert names
    units = unit_windows(cohort, "variant_id", *dimension_columns(names))
    periods = [cell.period for cell in calendar_part(METRICS, END).cells]
    frames = {
        "unit rows": unit_columns(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF),
        "events": EventPass(cohort, outcomes, CUTOFF).frame(all_parts(*names)),
        "units at risk": open_spans(units, names, periods, CUTOFF),
    }
    for name, frame in frames.items():
        plan = plan_of(frame)
        for banned in BANNED:
            assert banned not in plan, f"{banned} in the plan of {name}"


def test_events_and_units_are_read_and_joined_once_and_not_shuffled(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    plan = plan_of(EventPass(cohort, outcomes, CUTOFF).frame(all_parts()))
    assert exchanges(plan) == 0 and plan.count("BatchScan") == 2, plan


def test_without_buckets_the_events_of_a_unit_still_end_in_one_partition(spark: Any) -> None:
    cohort, outcomes = awkward(Random(8), users=40).frames(spark, 5)
    frame = EventPass(cohort, outcomes, CUTOFF).frame(all_parts())
    events = frame.selectExpr("unit", "spark_partition_id() as p").distinct()
    assert events.count() == events.select("unit").distinct().count() > 0


def test_many_units_are_sorted_instead_of_held_in_memory(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    assert (join_for(UNITS_IN_MEMORY), join_for(UNITS_IN_MEMORY + 1)) == (HASH, SORT)
    plan = plan_of(unit_columns(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF, join=SORT))
    assert "SortMergeJoin" in plan and "HashJoin" not in plan and exchanges(plan) == 0
