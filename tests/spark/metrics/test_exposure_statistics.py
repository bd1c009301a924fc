"""J5's sums of all assigned users by exposure: one answer in both analysis modes, and the same bytes again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.lakes import CANONICAL, Lake
from tests.spark.metrics.appending import append_outcomes
from tests.spark.metrics.test_statistics_stage import START, outcomes
from tests.spark.metrics.test_unit_outcomes_stage import DAY, EXPERIMENT, VALIDATION, assignments
from tests.stages import opened

from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import EXPOSURE_STATISTICS, METRIC_STATISTICS
from exp_platform.ledger.claim import claim
from exp_platform.metrics.families import split_by_exposure
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.stages import aggregate_metrics, build_unit_outcomes

pytestmark = pytest.mark.spark

DT = START.date() + 4 * DAY
USERS = 60


def exposed(lake: Lake) -> Any:
    """Two users in three are exposed, a day and a half after their assignment."""
    flags = {name: f"false AS {name}" for name, kind in TABLES[VALIDATION].types.items() if kind == "boolean"}
    counts = {name: f"1L AS {name}" for name, kind in TABLES[VALIDATION].types.items() if kind == "long"}
    known = {
        **flags,
        **counts,
        **{name: name for name in ("experiment_id", "user_id", "variant_id", "assignment_time_utc")},
        "is_valid_assignment": "true AS is_valid_assignment",
        "is_valid_exposed": "cast(user_id as int) % 3 <> 0 AS is_valid_exposed",
        "n_valid_exposures": "if(cast(user_id as int) % 3 <> 0, 1L, 0L) AS n_valid_exposures",
        **{
            name: f"assignment_time_utc + interval 36 hours AS {name}"
            for name in ("first_valid_exposure_utc", "first_exposure_utc")
        },
    }
    columns = [known.get(c, f"cast(null as string) AS {c}") for c in TABLES[VALIDATION].columns]
    return assignments(lake, START, users=USERS).selectExpr(*columns)


def in_mode(lake: Lake, mode: str) -> Lake:
    known = lake.project.experiment(EXPERIMENT)
    keys = {"analysis_mode": mode, "dimensions": (), "start_ts": START, "end_ts": START + 20 * DAY}
    return Lake(replace(lake.project, experiments={EXPERIMENT: known.model_copy(update=keys)}), lake.spark)


def stages(lake: Lake, run_id: str, dt: date = DT, **options: Any) -> tuple[pa.Table, pa.Table, str]:
    """J4 and J5, allowed to read what they declare: exposure statistics, statistics by cohort date, and the log."""
    lines: list[str] = []
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    for stage in (build_unit_outcomes, aggregate_metrics):
        declared = BY_NAME[stage.__name__.rsplit(".", 1)[1]]
        with opened(
            lake.project, EXPERIMENT, dt, run_id, declared, spark=lake.spark, log=lines.append, options=options
        ) as ctx:
            stage.run(ctx)
            if stage is aggregate_metrics:
                split, sums = (_sorted(ctx.read.arrow(name)) for name in (EXPOSURE_STATISTICS, METRIC_STATISTICS))
    names = pa.array([metric.name for metric in split_by_exposure(lake.project.metrics_of(in_force(lake)))])
    by_date = sums.filter(pc.and_(pc.equal(sums["unit_bucket"], -1), pc.is_in(sums["metric_name"], names)))
    return split, by_date, "\n".join(lines)


def in_force(lake: Lake) -> Any:
    return lake.project.experiment(EXPERIMENT)


def _sorted(rows: pa.Table) -> pa.Table:
    columns = list(TABLES[METRIC_STATISTICS].answer_columns)
    return rows.select(columns).sort_by([(name, "ascending") for name in TABLES[METRIC_STATISTICS].grain])


def of(rows: pa.Table, segment: str) -> list[dict[str, Any]]:
    return rows.filter(pc.equal(rows["segment"], segment)).to_pylist()


def test_both_modes_give_one_answer_about_all_assigned_users_and_a_rerun_the_same_bytes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    itt = in_mode(lake, "itt")
    itt.publish(CANONICAL, assignments(itt, START, users=USERS), EXPERIMENT, run_id="a")
    itt.publish(VALIDATION, exposed(itt), EXPERIMENT, run_id="v")
    for day in (-2, -1, 0, 1, 2, 3):
        append_outcomes(itt, outcomes(itt, day), EXPERIMENT, run_id=f"o{day}")

    split, sums, _ = stages(itt, "itt")
    assert of(split, "all") == of(sums, "all")
    counts = [sum(row["n"] + row["n_null"] for row in of(split, segment)) for segment in ("exposed=yes", "exposed=no")]
    assert counts[0] == 2 * counts[1] and sum(counts) == sum(r["n"] + r["n_null"] for r in of(split, "all"))

    monkeypatch.setattr(aggregate_metrics, "IDS_IN_MEMORY", 10)  # Spark joins instead
    again, _, _ = stages(itt, "itt again", full_refresh=True)
    monkeypatch.undo()
    assert repr(again.to_pylist()) == repr(split.to_pylist())

    spine, by_exposure, _ = stages(in_mode(lake, "exposed"), "exposed")
    assert repr(spine.to_pylist()) == repr(split.to_pylist())
    assert by_exposure.to_pylist() != sums.to_pylist()  # its own rows are of the exposed alone, from the exposure on


def test_a_rollout_has_no_such_rows(lake: Lake) -> None:
    known = in_mode(lake, "itt")
    rollout = in_force(known).model_copy(update={"design": "rollout"})
    split, _, _ = stages(Lake(replace(known.project, experiments={EXPERIMENT: rollout}), lake.spark), "rollout")
    assert split.num_rows == 0
