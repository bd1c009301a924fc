"""A rollout by store from J4 to J7: the cluster attribute is read whether or not `dimensions` lists it as well."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests.lakes import CANONICAL, Lake
from tests.spark.metrics.appending import append_outcomes
from tests.spark.metrics.test_unit_outcomes_stage import DAY, EXPERIMENT
from tests.stages import opened

from exp_platform.lake.tables.names import PANEL_STATISTICS as PANEL
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.spark

START = datetime(2026, 1, 5, tzinfo=UTC)
LATE = START.date() + 60 * DAY  # every window has closed
USERS, STORES, LAST_DAY = 400, 20, 20
STAGES = ("build_unit_outcomes", "aggregate_metrics", "analyze_results", "validate_statistics")


def rollout(lake: Lake, dimensions: tuple[str, ...]) -> Lake:
    """The shipped experiment as a rollout of whole stores."""
    experiment = lake.project.experiment(EXPERIMENT).model_copy(
        update={
            "design": "rollout", "decision_method": None, "analysis_mode": "itt", "cluster": "store",
            "dimensions": dimensions, "start_ts": START, "end_ts": START + 10 * DAY, "min_units": 20,
        }
    )  # fmt: skip
    return Lake(replace(lake.project, experiments={EXPERIMENT: experiment}), lake.spark)


def land(lake: Lake, *, with_stores: bool) -> None:
    """User i is assigned on day i % 3 to store i % 20; the odd stores are treated."""
    start = int(START.timestamp())
    canonical = lake.canonical(EXPERIMENT, USERS).selectExpr(
        "* except (assignment_time_utc, variant_id)",
        f"if(cast(user_id as int) % {STORES} % 2 = 0, 'control', 'treatment') as variant_id",
        f"timestamp_seconds({start} + cast(user_id as int) % 3 * 86400) as assignment_time_utc",
    )
    known = lake.spark.range(USERS if with_stores else 0).selectExpr(
        f"'{EXPERIMENT}' as experiment_id", "cast(id as string) as user_id", "'store' as dimension",
        f"concat('s', id % {STORES}) as value", "timestamp'2025-12-01' as attribute_ts",
        "'a' as source_file", "timestamp'2026-01-11' as ingested_at",
    )  # fmt: skip
    lake.publish(CANONICAL, canonical, EXPERIMENT, run_id=f"a{with_stores}")
    lake.publish("exp.attributes", known, EXPERIMENT, run_id=f"d{with_stores}")


def events(lake: Lake) -> Any:
    """Revenue and sessions of each user on every third day, before and after the assignment."""
    start = int(START.timestamp())
    days = lake.spark.range(USERS * 35).selectExpr("id % 400 as user", "id div 400 - 14 as day")
    return days.where("(user + day) % 3 = 0").selectExpr(
        f"'{EXPERIMENT}' as experiment_id",
        "cast(user as string) as user_id",
        "if(user % 7 < 5, 'revenue', 'sessions') as metric_name",
        "1D + (user * 37 + day * 11) % 23 / 8D as value",
        f"timestamp_seconds({start} + day * 86400 + user * 97 % 86400) as outcome_ts",
        "cast(null as string) as event_id",
        "'f' as source_file",
        "timestamp'2026-01-11' as ingested_at",
    )


def stages(lake: Lake, dt: date, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """J4 to J7; the rows that each published."""
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    rows: dict[str, list[dict[str, Any]]] = {}
    for name in STAGES:
        with opened(lake.project, EXPERIMENT, dt, run_id, name, spark=lake.spark) as ctx:
            BY_NAME[name].run(ctx)
            rows |= {table: ctx.read.arrow(table).to_pylist() for table in BY_NAME[name].publishes}
    return rows


def test_a_cluster_attribute_is_read_with_or_without_being_listed_and_its_absence_is_a_failed_check(
    lake: Lake,
) -> None:
    land(lake, with_stores=True)
    outcomes = events(lake)
    append_outcomes(lake, outcomes, EXPERIMENT, run_id="o0")
    alone, listed = (
        stages(rollout(lake, dimensions), LATE + i * DAY, f"dimensions {dimensions}")
        for i, dimensions in enumerate(((), ("store",)))
    )
    deciding = [
        [row for row in rows["exp.analysis_results"] if row["is_deciding"] and row["metric_name"] == "revenue"]
        for rows in (alone, listed)
    ]
    numbers = ("effect_abs", "p_value", "status", "reason")
    assert [[row[name] for name in numbers] for row in deciding[0]] == [
        [row[name] for name in numbers] for row in deciding[1]
    ]
    assert (deciding[0][0]["status"], deciding[0][0]["reason"]) == ("ok", "few_clusters")
    segments = [{row["segment"] for row in rows["exp.analysis_results"]} for rows in (alone, listed)]
    assert segments[0] == {"all"} and "store=s3" in segments[1]
    panels_hold_the_sums_of_stores(alone[PANEL], [row.asDict() for row in outcomes.collect()])
    tests = [row["test"] for row in alone["exp.did_pretrend_tests"] if row["metric_name"] == "revenue"]
    assert tests == ["slope"], "ten stores an arm, fourteen days"
    (check,) = (row for row in rows_of_checks(alone) if row["check_name"] == "clusters")
    assert (check["status"], check["observed"]) == ("ok", 1.0)

    land(lake, with_stores=False)
    lost = stages(rollout(lake, ()), LATE + 2 * DAY, "no unit has a store")
    (check,) = (row for row in rows_of_checks(lost) if row["check_name"] == "clusters")
    assert (check["status"], check["observed"]) == ("fail", 0.0)
    assert all(
        "unit_level_errors" in row["reason"]
        for row in lost["exp.analysis_results"]
        if row["is_deciding"] and row["status"] == "ok"
    )
    assert not any(row["cluster_sums"] for row in lost[PANEL])


def rows_of_checks(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return rows["gold.fct_experiment_statistical_validation"]


def panels_hold_the_sums_of_stores(panel: list[dict[str, Any]], outcomes: list[dict[str, Any]]) -> None:
    """Every store of the arm and date, with its units, and what their events of the day add up to."""
    expected: dict[tuple[date, int, str], float] = defaultdict(float)
    for event in outcomes:
        user = int(event["user_id"])
        assigned = START + user % 3 * DAY
        relative = (event["outcome_ts"].replace(tzinfo=UTC) - assigned) // DAY
        if event["metric_name"] == "revenue" and -14 <= relative < 0:
            expected[assigned.date(), relative, f"s{user % STORES}"] += event["value"]
    found = {}
    for row in panel:
        if row["metric_name"] == "revenue" and row["day_i"] == row["day_j"]:
            assert sum(n for _, n in row["cluster_units"]) == row["n"]
            assert [store for store, _ in row["cluster_sums"]] == [store for store, _ in row["cluster_units"]]
            found |= {(row["cohort_date"], row["day_i"], store): total for store, total in row["cluster_sums"]}
        else:
            assert row["metric_name"] != "revenue" or row["cluster_sums"] is None
    assert {key: total for key, total in found.items() if total} == pytest.approx(dict(expected))
