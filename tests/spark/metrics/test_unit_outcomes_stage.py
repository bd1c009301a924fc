"""The stage itself, on a lake: one day after the other gives what a full refresh gives, and says which way it went."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.spark.lake.conftest import CANONICAL, Lake, lake  # noqa: F401
from tests.spark.metrics.appending import append_outcomes

from exp_platform.lake.catalog import spark_catalog_conf
from exp_platform.lake.claim import claim
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.context import StageContext
from exp_platform.pipelines.stages import build_unit_outcomes
from exp_platform.pipelines.stages.build_unit_outcomes import COHORT, UNIT_OUTCOMES, run

pytestmark = pytest.mark.spark

VALIDATION = "silver.int_experiment_exposure_validation"
EXPERIMENT = "exp_checkout_button_001"
DAY = timedelta(days=1)


def assignments(lake: Lake, start: datetime, users: int) -> Any:  # noqa: F811
    """User i is assigned i hours after the start."""
    return lake.canonical(EXPERIMENT, users).selectExpr(
        "* except (assignment_time_utc, variant_id)",
        "if(cast(user_id as int) % 2 = 0, 'control', 'treatment') as variant_id",
        f"timestamp_micros({int(start.timestamp()) * 1_000_000}L + cast(user_id as int) * 3600000000L) "
        "as assignment_time_utc",
    )


def outcomes(lake: Lake, start: datetime, day: int) -> Any:  # noqa: F811
    """On each day every user has some revenue, also before the assignment, and some is a day late."""
    return lake.spark.range(60).selectExpr(
        f"'{EXPERIMENT}' as experiment_id",
        "cast(id as string) as user_id",
        "if(id % 3 = 0, 'sessions', 'revenue') as metric_name",
        f"id / 7D + {day}D as value",
        f"timestamp_micros({int((start + day * DAY).timestamp()) * 1_000_000}L + (id * 1777 % 86400) * 1000000L "
        "- if(id % 11 = 0, 86400000000L, 0L)) as outcome_ts",
        f"'day {day}' as source_file",
        "timestamp'2026-01-11' as ingested_at",
    )


def stage(lake: Lake, dt: date, run_id: str, **options: Any) -> tuple[list[dict[str, Any]], str]:  # noqa: F811
    """Run it; the rows that it published, and its log."""
    lines: list[str] = []
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    with StageContext.open(
        lake.project, EXPERIMENT, dt, run_id, "build_unit_outcomes", spark=lake.spark, log=lines.append, options=options
    ) as ctx:
        run(ctx)
        table = ctx.read_arrow(UNIT_OUTCOMES)
    rows = sorted(table.to_pylist(maps_as_pydicts="strict"), key=lambda row: row["user_id"])
    return rows, "\n".join(lines)


def everyone_assigned(lake: Lake) -> Lake:  # noqa: F811
    """The same lake with the experiment analysed as assigned, so that no exposures are needed."""
    experiment = lake.project.experiment(EXPERIMENT).model_copy(update={"analysis_mode": "itt", "dimensions": ()})
    return Lake(replace(lake.project, experiments={EXPERIMENT: experiment}), lake.spark)


def test_a_day_added_gives_the_rows_of_a_full_refresh(
    lake: Lake,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build_unit_outcomes, "PAYS_FROM", 0)
    lake = everyone_assigned(lake)
    experiment = lake.project.experiment(EXPERIMENT)
    start = datetime.combine(experiment.start_ts.date(), datetime.min.time(), UTC)
    first = (start + DAY).date()
    lake.publish(CANONICAL, assignments(lake, start, users=40), EXPERIMENT, run_id="a0")
    for day in (-2, 0, 1):
        append_outcomes(lake, outcomes(lake, start, day), EXPERIMENT, run_id=f"o{day}")
    _, said = stage(lake, first, "r1")
    assert "units from all events: nothing published before" in said

    lake.publish(CANONICAL, assignments(lake, start, users=60), EXPERIMENT, run_id="a1")
    append_outcomes(lake, outcomes(lake, start, 2), EXPERIMENT, run_id="o2")
    added, said = stage(lake, first + DAY, "r2")
    assert "20 units are new" in said, said
    full, said = stage(lake, first + DAY, "r3", full_refresh=True)
    assert "units from all events: full refresh asked for" in said
    assert repr(added) == repr(full) and len(full) == 60
    assert sum(row["metrics"]["revenue"] for row in full) > 0

    monkeypatch.setattr(build_unit_outcomes, "PAYS_FROM", 40)
    append_outcomes(lake, outcomes(lake, start, 3), EXPERIMENT, run_id="o3")
    _, said = stage(lake, first + 2 * DAY, "few")
    assert "units from all events: fewer than 40 of a unit" in said, said
    monkeypatch.setattr(build_unit_outcomes, "PAYS_FROM", 0)

    lake.publish("exp.outcomes", outcomes(lake, start, 2), EXPERIMENT, run_id="o4")
    _, said = stage(lake, first + 2 * DAY, "r4")
    assert "units from all events: outcomes were re-stated" in said


@pytest.mark.parametrize("broadcast", ["10485760", "-1"])
def test_exposed_units_with_dimensions_lie_in_one_file_for_each_bucket(
    lake: Lake,  # noqa: F811
    broadcast: str,
) -> None:
    experiment = lake.project.experiment(EXPERIMENT)
    changes = {"analysis_mode": "exposed", "dimensions": ("country",)}
    lake = Lake(
        replace(lake.project, experiments={EXPERIMENT: experiment.model_copy(update=changes)}), lake.spark.newSession()
    )
    for key, value in (*spark_catalog_conf(lake.project).items(), ("spark.sql.autoBroadcastJoinThreshold", broadcast)):
        lake.spark.conf.set(key, value)
    start = datetime.combine(experiment.start_ts.date(), datetime.min.time(), UTC)
    assigned = assignments(lake, start, users=200)
    lake.publish(CANONICAL, assigned, EXPERIMENT, run_id=f"a{broadcast}")
    flags = [c for c, kind in TABLES[VALIDATION].types.items() if kind == "boolean"]
    exposed = assigned.selectExpr(
        "experiment_id", "user_id", "variant_id", "assignment_time_utc", "1L as n_exposures", "1L as n_valid_exposures",
        "assignment_time_utc as first_exposure_utc", "assignment_time_utc as first_valid_exposure_utc",
        *(f"{flag.startswith('is_')} as {flag}" for flag in flags),
    )  # fmt: skip
    lake.publish(VALIDATION, lake.filled(VALIDATION, exposed), EXPERIMENT, run_id=f"v{broadcast}")
    known = assigned.selectExpr(
        "experiment_id", "user_id", "'country' as dimension", "'DE' as value", "assignment_time_utc as attribute_ts",
        "'a' as source_file", "timestamp'2026-01-11' as ingested_at",
    )  # fmt: skip
    lake.publish("exp.attributes", known, EXPERIMENT, run_id=f"d{broadcast}")
    append_outcomes(lake, outcomes(lake, start, 0), EXPERIMENT, run_id=f"x{broadcast}")

    rows, _ = stage(lake, (start + 20 * DAY).date(), f"exposed{broadcast}", full_refresh=True)
    assert len(rows) == 200 and {row["dimensions"]["country"] for row in rows} == {"DE"}
    for table in (COHORT, UNIT_OUTCOMES):
        files = lake.spark.table(f"iceberg.{table}.files").where(f"partition.experiment_id = '{EXPERIMENT}'").collect()
        assert sorted(row["partition"]["user_id_bucket"] for row in files) == [0, 1, 2, 3]
