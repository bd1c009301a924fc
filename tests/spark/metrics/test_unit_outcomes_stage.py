"""The stage itself, on a lake: one day after the other gives what a full refresh gives, and says which way it went."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.foreign_expiry import keep_one_snapshot
from tests.lakes import CANONICAL, Lake
from tests.sessions import session_for
from tests.spark.metrics.appending import append_outcomes
from tests.stages import opened

from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import COHORT, UNIT_OUTCOMES
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.stages.build_unit_outcomes import run
from exp_platform.transforms.unit_outcomes import unit_outcomes
from exp_platform.transforms.unit_partials import has_far_values

pytestmark = pytest.mark.spark

VALIDATION = "silver.int_experiment_exposure_validation"
EXPERIMENT = "exp_checkout_button_001"
DAY = timedelta(days=1)


def assignments(lake: Lake, start: datetime, users: int) -> Any:
    """User i is assigned i hours after the start."""
    return lake.canonical(EXPERIMENT, users).selectExpr(
        "* except (assignment_time_utc, variant_id)",
        "if(cast(user_id as int) % 2 = 0, 'control', 'treatment') as variant_id",
        f"timestamp_micros({int(start.timestamp()) * 1_000_000}L + cast(user_id as int) * 3600000000L) "
        "as assignment_time_utc",
    )


def outcomes(lake: Lake, start: datetime, day: int) -> Any:
    """On each day every user has some revenue, also before the assignment, and some is a day late."""
    return lake.spark.range(60).selectExpr(
        f"'{EXPERIMENT}' as experiment_id",
        "cast(id as string) as user_id",
        "if(id % 3 = 0, 'sessions', 'revenue') as metric_name",
        f"id / 7D + {day}D as value",
        f"timestamp_micros({int((start + day * DAY).timestamp()) * 1_000_000}L + (id * 1777 % 86400) * 1000000L "
        "- if(id % 11 = 0, 86400000000L, 0L)) as outcome_ts",
        "cast(null as string) as event_id",
        f"'day {day}' as source_file",
        "timestamp'2026-01-11' as ingested_at",
    )


def stage(lake: Lake, dt: date, run_id: str, **options: Any) -> tuple[list[dict[str, Any]], str]:
    """Run it; the rows that it published, and its log."""
    lines: list[str] = []
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    with opened(
        lake.project, EXPERIMENT, dt, run_id, "build_unit_outcomes", spark=lake.spark, log=lines.append, options=options
    ) as ctx:
        run(ctx)
        table = ctx.read.arrow(UNIT_OUTCOMES)
    rows = sorted(table.to_pylist(maps_as_pydicts="strict"), key=lambda row: row["user_id"])
    return rows, "\n".join(lines)


def everyone_assigned(lake: Lake) -> Lake:
    """The lake with the experiment analysed as assigned, so that no exposures are needed."""
    experiment = lake.project.experiment(EXPERIMENT).model_copy(update={"analysis_mode": "itt", "dimensions": ()})
    return Lake(replace(lake.project, experiments={EXPERIMENT: experiment}), lake.spark)


def files_of(lake: Lake) -> dict[str, date]:
    """The files that hold the experiment's rows, and their cohort dates."""
    rows = lake.spark.table(f"iceberg.{UNIT_OUTCOMES}.files").where(f"partition.experiment_id = '{EXPERIMENT}'")
    return {row["file_path"]: row["partition"]["cohort_date"] for row in rows.collect()}


def test_days_added_one_by_one_compute_what_they_change_and_give_the_rows_of_everything(
    lake: Lake,
) -> None:
    lake = everyone_assigned(lake)
    known = lake.project.experiment(EXPERIMENT)
    experiment = known.model_copy(update={"end_ts": known.start_ts + 40 * DAY})
    lake = Lake(replace(lake.project, experiments={EXPERIMENT: experiment}), lake.spark)
    start = datetime.combine(experiment.start_ts.date(), datetime.min.time(), UTC)
    late = start + 20 * DAY  # by then the windows of the first units have closed: two weeks at most
    assigned = assignments(lake, start, users=60)
    newer = assigned.where("user_id < '20'").selectExpr(
        "* except (user_id, assignment_time_utc)", "concat('new ', user_id) as user_id",
        f"timestamp_micros({int(late.timestamp()) * 1_000_000}L) as assignment_time_utc",
    )  # fmt: skip

    def day(n: int, run_id: str, expected: str) -> list[dict[str, Any]]:
        """A run that adds; its rows are those of all events at once, and files of other dates are not touched."""
        before = files_of(lake)
        added, said = stage(lake, (late + n * DAY).date(), run_id)
        assert expected in said, said
        at_once = everything(lake, late + (n + 1) * DAY)
        assert repr(added) == repr(at_once)
        kept = files_of(lake).items() & before.items()
        untouched = {when for _, when in kept}
        assert untouched.isdisjoint(when for path, when in files_of(lake).items() if path not in before)
        if "cohort dates" in expected:
            recomputed, of = (int(word) for word in re.findall(r"\d+", expected)[:2])
            assert len(untouched) == of - recomputed
        return added

    lake.publish(CANONICAL, assigned, EXPERIMENT, run_id="a0")
    for n in (-2, 0, 1):
        append_outcomes(lake, outcomes(lake, start, n), EXPERIMENT, run_id=f"o{n}")
    day(0, "first", "recomputed all unit rows: nothing was published before")
    day(1, "nothing is new", "recomputed unit rows of 0 of 3 cohort dates")

    assigned_again = assigned.selectExpr("* except (n_assignment_events)", "2L as n_assignment_events")
    lake.publish(CANONICAL, assigned_again, EXPERIMENT, run_id="a0 again")
    _, said = stage(lake, (late + DAY).date(), "assigned again, to the same arms")
    assert f"reused 60 rows of {COHORT} as of {late.date()} (run first)" in said, said
    assert f"reused 60 rows of {UNIT_OUTCOMES} as of {late.date()} (run first)" in said, said

    lake.publish(CANONICAL, assigned.unionByName(newer), EXPERIMENT, run_id="a1")
    append_outcomes(lake, outcomes(lake, start, 21), EXPERIMENT, run_id="o21")  # beyond the windows of the old units
    added = day(2, "new units", "recomputed unit rows of 1 of 4 cohort dates")
    assert len(added) == 60 + newer.count()

    old = outcomes(lake, start, 1).where("user_id = '31'").selectExpr("* except (value)", "1e10 as value")
    append_outcomes(lake, old, EXPERIMENT, run_id="late")
    added = day(
        2, "a late event of an old unit, too large for the usual sums", "recomputed unit rows of 1 of 4 cohort dates"
    )
    assert max(row["metrics"]["revenue"] for row in added) > 1e10

    moved = assigned.selectExpr(
        "* except (assignment_time_utc)",
        "if(user_id = '3', assignment_time_utc + interval 1 day, assignment_time_utc) as assignment_time_utc",
    )
    lake.publish(CANONICAL, moved.unionByName(newer), EXPERIMENT, run_id="a2")
    day(3, "a unit on another date", "recomputed unit rows of 2 of 4 cohort dates")

    lake.publish(CANONICAL, moved.where("cast(user_id as int) < 48"), EXPERIMENT, run_id="a3")
    gone = "recomputed unit rows of 0 of 2 cohort dates, removed those of 2 dates"
    added = day(3, "units gone, and two whole dates", gone)
    assert {row["cohort_date"] for row in added} == {start.date(), (start + DAY).date()}

    full, said = stage(lake, (late + 3 * DAY).date(), "full", full_refresh=True)
    assert "recomputed all unit rows: --full-refresh was given" in said
    assert repr(full) == repr(added)

    lake.publish("exp.outcomes", outcomes(lake, start, 1), EXPERIMENT, run_id="restated")
    day(4, "restated", "recomputed all unit rows: exp.outcomes was rewritten")

    append_outcomes(lake, outcomes(lake, start, 2), EXPERIMENT, run_id="o2")
    keep_one_snapshot(lake.handle("exp.outcomes"))
    expired = "recomputed all unit rows: the snapshot of exp.outcomes that the last run read has been expired"
    day(5, "after somebody else's expiry", expired)


def everything(lake: Lake, cutoff: datetime) -> list[dict[str, Any]]:
    """The rows that J4's definition gives for what the tables hold."""
    names = (COHORT, "exp.outcomes")
    cohort, events = (lake.spark.table(f"iceberg.{n}").where(f"experiment_id = '{EXPERIMENT}'") for n in names)
    experiment = lake.project.experiment(EXPERIMENT)
    metrics = lake.project.metrics_of(experiment)
    units = unit_outcomes(cohort, events, metrics, end_ts=experiment.end_ts, cutoff=cutoff, far=has_far_values(events))
    return sorted(units.toArrow().to_pylist(maps_as_pydicts="strict"), key=lambda row: row["user_id"])


@pytest.mark.parametrize("broadcast", [True, False])
def test_exposed_units_with_dimensions_lie_in_one_file_for_each_bucket_and_date(
    lake: Lake,
    broadcast: bool,
) -> None:
    experiment = lake.project.experiment(EXPERIMENT)
    changes = {"analysis_mode": "exposed", "dimensions": ("country",)}
    project = replace(lake.project, experiments={EXPERIMENT: experiment.model_copy(update=changes)})
    lake = Lake(project, session_for(lake.spark, project, broadcast=broadcast))
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
        assert {row["partition"]["user_id_bucket"] for row in files} == {0, 1, 2, 3}
        assert len(files) == len({row["partition"] for row in files})
