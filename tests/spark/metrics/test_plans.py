"""How Spark runs the spine on the lake's own layout: what is shuffled, and what must never be in a plan."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from tests.conftest import make_project
from tests.oracle.spine_data import CUTOFF, END, METRICS
from tests.oracle.test_spine_oracle import awkward

from exp_platform.lake.catalog import ensure_tables, spark_catalog_conf
from exp_platform.metrics.families import families
from exp_platform.transforms.metric_statistics import group_sums
from exp_platform.transforms.metric_values import metric_values, pooled_scales
from exp_platform.transforms.unit_outcomes import unit_outcomes

pytestmark = pytest.mark.spark

COHORT = "gold.fct_experiment_cohort"
OUTCOMES = "exp.outcomes"


@pytest.fixture(scope="module")
def lake_frames(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Cohort and outcomes of one experiment, read from tables with the declared layout."""
    project = make_project(tmp_path_factory.mktemp("plans"))
    ensure_tables(project, names=(COHORT, OUTCOMES))
    session = spark.newSession()
    for key, value in spark_catalog_conf(project).items():
        session.conf.set(key, value)
    session.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")  # as for data that is too large to broadcast
    cohort, outcomes = awkward(Random(6), users=60).frames(session)
    outcomes = outcomes.selectExpr("*", "'f' as source_file", "timestamp'2026-01-11' as ingested_at")
    cohort.writeTo(f"iceberg.{COHORT}").append()
    outcomes.writeTo(f"iceberg.{OUTCOMES}").append()
    return tuple(session.table(f"iceberg.{name}").where("experiment_id = 'exp_spine'") for name in (COHORT, OUTCOMES))


def plan_of(frame: Any) -> str:
    """The physical plan as Spark would run it, before adaptive execution changes it."""
    return frame._jdf.queryExecution().executedPlan().toString()


def exchanges(plan: str) -> int:
    return len(re.findall(r"\bExchange\b", plan))


def test_unit_outcomes_shuffle_neither_events_nor_units(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    plan = plan_of(unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF))
    assert exchanges(plan) == 0, plan
    assert "BroadcastExchange" not in plan


def test_no_plan_of_the_spine_has_a_cartesian_product_or_leaves_the_engine(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    units = unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF)
    values = metric_values(units, METRICS)
    scales = pooled_scales(values, METRICS)
    plans = [plan_of(units)] + [plan_of(group_sums(values, family, scales)) for family in families(METRICS)]
    for plan in plans:
        for banned in ("CartesianProduct", "BroadcastNestedLoopJoin", "Python", "BatchEval", "DeserializeToObject"):
            assert banned not in plan


def test_statistics_shuffle_once_and_only_groups(spark: Any, lake_frames: Any) -> None:
    cohort, outcomes = lake_frames
    values = metric_values(unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF), METRICS)
    scales = pooled_scales(values, METRICS)
    for family in families(METRICS):
        plan = plan_of(group_sums(values, family, scales))
        assert exchanges(plan) == 1, plan
        assert plan.index("HashAggregate") < plan.index("Exchange"), "groups are formed before they are shuffled"
