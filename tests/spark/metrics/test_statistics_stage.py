"""J5 on a lake, one day after the other: what it takes over from the day before is what a full refresh would say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Any

import pytest
from tests.lakes import CANONICAL, Lake
from tests.spark.metrics.appending import append_outcomes
from tests.spark.metrics.test_unit_outcomes_stage import DAY, EXPERIMENT, assignments, everyone_assigned
from tests.stages import opened

from exp_platform.config.models import Experiment
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import (
    METRIC_AGGREGATES_DAILY,
    METRIC_AGGREGATES_OVERALL,
    METRIC_SERIES,
    METRIC_STATISTICS,
    PANEL_STATISTICS,
)
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.stages import aggregate_metrics, build_unit_outcomes

pytestmark = pytest.mark.spark

START = datetime(2026, 1, 5, tzinfo=UTC)
# One of each type that the events below feed.
METRICS = ("revenue", "latency", "latency_p90", "revenue_per_session", "retention_week_2")


def outcomes(lake: Lake, day: int, *, users: int = 90, late: int = 0) -> Any:
    """On each day every user has an event of some kind, also before the assignment; `late` says how many days late."""
    at = int((START + (day - late) * DAY).timestamp())
    return lake.spark.range(users).selectExpr(
        f"'{EXPERIMENT}' as experiment_id",
        "cast(id as string) as user_id",
        f"element_at(array('sessions', 'revenue', 'latency'), cast((id + {day + 9}) % 3 as int) + 1) as metric_name",
        f"id / 7D + {day + 2}D as value",
        f"timestamp_micros({at}L * 1000000L + (id * 1777 % 86400) * 1000000L) as outcome_ts",
        "cast(null as string) as event_id",
        f"'day {day}' as source_file",
        "timestamp'2026-01-11' as ingested_at",
    )


def stages(
    lake: Lake,
    dt: date,
    run_id: str,
    run: Sequence[ModuleType] = (build_unit_outcomes, aggregate_metrics),
    **options: Any,
) -> tuple[dict[str, Any], str]:
    """J4 and J5, or J5 alone: the answer columns of J5's tables, and its log."""
    lines: list[str] = []
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    for stage in run:
        name = stage.__name__.rsplit(".", 1)[1]
        with opened(
            lake.project, EXPERIMENT, dt, run_id, name, spark=lake.spark, log=lines.append, options=options
        ) as ctx:
            stage.run(ctx)
    rows = {}
    for table in (
        METRIC_STATISTICS,
        PANEL_STATISTICS,
        METRIC_AGGREGATES_OVERALL,
        METRIC_AGGREGATES_DAILY,
        METRIC_SERIES,
    ):
        found = ctx.read.arrow(table, list(dict.fromkeys((*TABLES[table].grain, *TABLES[table].answer_columns))))
        rows[table] = sorted(map(repr, found.to_pylist()))
    return rows, "\n".join(line for line in lines if "recomputed" in line and "aggregate" in line)


def few_metrics(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment with a metric of each type."""
    return experiment.model_copy(update={"metrics": METRICS, "primary_metric": METRICS[0], "guardrails": (), **changes})


def same_as_full(lake: Lake, dt: date, run_id: str, empty: str = "") -> str:
    """Run it as it would run, then J5 over everything; what it said. One table may be empty, and then has to be.

    A step before that was run alone is compared as well: what it got wrong is reused here.
    """
    added, said = stages(lake, dt, run_id)
    full, whole = stages(lake, dt, f"{run_id} full", (aggregate_metrics,), full_refresh=True)
    assert "recomputed all statistics: --full-refresh was given" in whole
    for table, rows in full.items():
        assert rows == added[table], f"{run_id}: {table}"
        assert (len(rows) > 5) is (table != empty), table
    return said


def test_days_added_one_by_one_give_the_sums_of_a_full_refresh(lake: Lake) -> None:
    lake = everyone_assigned(lake)
    known = lake.project.experiment(EXPERIMENT)
    experiment = few_metrics(known, start_ts=START, end_ts=START + 20 * DAY)
    lake = Lake(replace(lake.project, experiments={EXPERIMENT: experiment}), lake.spark)
    first = START.date() + DAY

    lake.publish(CANONICAL, assignments(lake, START, users=40), EXPERIMENT, run_id="a0")
    for day in (-3, -2, -1, 0, 1):
        append_outcomes(lake, outcomes(lake, day), EXPERIMENT, run_id=f"o{day}")
    _, said = stages(lake, first, "day 1")
    assert "recomputed all statistics: nothing was published before" in said

    lake.publish(CANONICAL, assignments(lake, START, users=70), EXPERIMENT, run_id="a1")
    append_outcomes(lake, outcomes(lake, 2), EXPERIMENT, run_id="o2")
    _, said = stages(lake, first + DAY, "more units")
    assert "calendar days from 2026-01-06" in said, said

    append_outcomes(lake, outcomes(lake, 3), EXPERIMENT, run_id="o3")
    said = same_as_full(lake, first + 2 * DAY, "events alone")  # and the units of the step before
    assert "panels of 0 cohort dates, calendar days from 2026-01-08" in said, said

    append_outcomes(lake, outcomes(lake, 3, users=7, late=4), EXPERIMENT, run_id="o4")
    said = same_as_full(lake, first + 2 * DAY, "late events, the same day again")
    assert "panels of 1 cohort dates, calendar days from 2026-01-04" in said, said

    large = outcomes(lake, 4).selectExpr("* except (value)", "value * 1000 as value")
    append_outcomes(lake, large, EXPERIMENT, run_id="o5")
    said = same_as_full(lake, first + 3 * DAY, "larger events, other limbs")

    moved = assignments(lake, START, users=70).selectExpr(
        "* except (variant_id)", "if(user_id = '3', 'control', variant_id) as variant_id"
    )
    lake.publish(CANONICAL, moved, EXPERIMENT, run_id="a2")
    said = same_as_full(lake, first + 3 * DAY, "a unit in another arm")
    assert "panels of 1 cohort dates, calendar days from 2026-01-05" in said, said

    fewer = assignments(lake, START, users=50).where("user_id <> '30'")
    lake.publish(CANONICAL, fewer, EXPERIMENT, run_id="a3")
    same_as_full(lake, first + 4 * DAY, "units gone")

    late = first + 60 * DAY
    stages(lake, late, "every window has closed")
    said = same_as_full(lake, late + DAY, "a quiet day")
    assert f"reused statistics of {late}; recomputed: panels of 0 cohort dates, no calendar days" in said, said
    append_outcomes(lake, outcomes(lake, 5, users=45), EXPERIMENT, run_id="o6")
    assert "the sums of all units" in (said := same_as_full(lake, late + 2 * DAY, "late events in closed windows")), (
        said
    )


def test_events_that_were_there_too_early_and_events_that_came_since_are_seen_together(lake: Lake) -> None:
    lake = everyone_assigned(lake)
    known = lake.project.experiment(EXPERIMENT)
    experiment = few_metrics(known, start_ts=START, end_ts=START + 30 * DAY, alpha=0.04)
    lake = Lake(replace(lake.project, experiments={EXPERIMENT: experiment}), lake.spark)
    day = START.date() + 90 * DAY  # after the other test's

    lake.publish(CANONICAL, assignments(lake, START, users=70), EXPERIMENT, run_id="b0")
    lake.publish("exp.outcomes", outcomes(lake, 0), EXPERIMENT, run_id="p0")
    append_outcomes(lake, outcomes(lake, 91), EXPERIMENT, run_id="p1")
    stages(lake, day, "first")
    append_outcomes(lake, outcomes(lake, 4), EXPERIMENT, run_id="p2")
    assert "; recomputed: " in (said := same_as_full(lake, day + DAY, "both")), said
