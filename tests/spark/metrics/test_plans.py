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
from exp_platform.metrics.values import post_period
from exp_platform.sums.panels import panels_of
from exp_platform.transforms.aggregates import calendar_metrics, open_spans, sums_by_day
from exp_platform.transforms.cohort import dimension_columns, dimension_names
from exp_platform.transforms.daily_values import daily_values
from exp_platform.transforms.event_histograms import event_histograms
from exp_platform.transforms.joins import HASH, SORT, UNITS_IN_MEMORY, join_for
from exp_platform.transforms.unit_outcomes import unit_columns
from exp_platform.transforms.unit_partials import seen_events, unit_windows

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


def test_no_plan_over_events_has_a_cartesian_product_or_leaves_the_engine(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    names, panels = dimension_names(cohort), tuple(dict.fromkeys(panels_of(METRICS).values()))
    assert names
    units = unit_windows(cohort, "variant_id", *dimension_columns(names))
    values = [value for _, own in calendar_metrics(METRICS) for value in own]
    cells = tuple(dict.fromkeys((value.source, post_period(value.metric, END)) for value in values))
    events = seen_events(outcomes, [source for source, _ in cells], CUTOFF)
    frames = {
        "unit rows": unit_columns(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF),
        "daily values": daily_values(cohort, outcomes, panels, CUTOFF),
        "calendar": sums_by_day(units, names, events, cells, False, HASH),
        "units at risk": open_spans(units, names, [period for _, period in cells], CUTOFF),
        "histograms": event_histograms(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF),
    }
    for name, frame in frames.items():
        plan = plan_of(frame)
        for banned in BANNED:
            assert banned not in plan, f"{banned} in the plan of {name}"


def test_daily_values_of_a_unit_stay_where_its_events_are(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    panels = tuple(dict.fromkeys(panels_of(METRICS).values()))
    assert exchanges(plan_of(daily_values(cohort, outcomes, panels, CUTOFF))) == 0


def test_without_buckets_the_daily_values_of_a_unit_still_end_in_one_partition(spark: Any) -> None:
    cohort, outcomes = awkward(Random(8), users=40).frames(spark, 5)
    panels = tuple(dict.fromkeys(panels_of(METRICS).values()))
    daily = daily_values(cohort, outcomes, panels, CUTOFF).selectExpr("unit", "spark_partition_id() as p").distinct()
    assert daily.count() == daily.select("unit").distinct().count() > 0


def test_many_units_are_sorted_instead_of_held_in_memory(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    assert (join_for(UNITS_IN_MEMORY), join_for(UNITS_IN_MEMORY + 1)) == (HASH, SORT)
    plan = plan_of(unit_columns(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF, join=SORT))
    assert "SortMergeJoin" in plan and "HashJoin" not in plan and exchanges(plan) == 0
