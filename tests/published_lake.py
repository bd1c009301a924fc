"""A small lake as a run leaves it, from hand-made rows: registry, users, sums, results and decision; no Spark."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.transforms import BucketTransform
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import clone, put, quality_rows
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.config.models import Guardrail
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.results.plan import AnalysisPlan

ARMS = ("control", "treatment")
PER_ARM = 1500
LEFT_OUT = 10  # users of each arm who were never exposed
STAGES = ("sync_registry", "analyze_results", "validate_statistics", "check_guardrails")


def published_lake(folder: Path, **profile: Any) -> tuple[Project, AnalysisPlan]:
    """exp_test as of its fourteenth day: the treatment wins on `checkout`, and `speed` is its guardrail.

    Keys of the profile may name a catalog and a store other than the embedded ones.
    """
    metrics = [hm.metric("checkout", "binary"), hm.metric("speed", direction="decrease")]
    guardrails = (Guardrail(metric="speed", max_relative_harm=0.05),)
    plan = hm.plan(metrics, days=14, arms=ARMS, guardrails=guardrails)
    project = clone(folder, metrics, plan, **profile)
    embedded = project.profile.catalog.type == "sqlite" and project.profile.object_store is None
    (empty_lake if embedded else ensure_tables)(project)
    units = hm.draw_units(1, PER_ARM, ARMS, effects={"treatment": 0.06}, base=0.1, kind="binary")
    put(project, hm.STATISTICS, hm.statistics({metrics[0]: units, metrics[1]: hm.draw_units(2, PER_ARM, ARMS)}))
    put(project, "gold.fct_experiment_quality_metrics_daily", _quality(units))
    _put_users(project, plan)
    claim(project, "exp_test", "run_1", plan.dt, started_by="test")
    for name in STAGES:
        with opened(project, "exp_test", plan.dt, "run_1", name) as ctx:
            BY_NAME[name].run(ctx)
    return project, plan


def _quality(units: hm.Units) -> pa.Table:
    """Every assigned user was exposed, on each day and in each arm."""
    counted = ("exposed", "any_exposure", "canonical_assignments")
    rows = [row | dict.fromkeys(counted, row["assigned"]) | {"exposure_rate": 1.0} for row in hm.assigned(units)]
    return quality_rows(rows)


def _put_users(project: Project, plan: AnalysisPlan) -> None:
    """Each user's assignment, place in the cohort and metrics; the first users of each arm were not exposed."""
    users = [(arm, number) for arm in ARMS for number in range(PER_ARM + LEFT_OUT)]
    at = [plan.experiment.start_ts + timedelta(days=number % 14) for _, number in users]
    assignments = [
        _filled("silver.fact_assignment_canonical", arm, number, assignment_time_utc=when, is_valid=True)
        for (arm, number), when in zip(users, at, strict=True)
    ]
    cohort = [
        _filled(
            "gold.fct_experiment_cohort",
            *(arm, number),
            assignment_time_utc=when,
            dimensions=[],
            **({"exclusion_reason": "not_exposed"} if number < LEFT_OUT else _analysed(when) | {"included": True}),
        )
        for (arm, number), when in zip(users, at, strict=True)
    ]
    outcomes = [
        _filled(
            "gold.fct_experiment_unit_outcomes",
            *(arm, number),
            **_analysed(when),
            unit_bucket=number % 256,
            metrics=[("checkout", float(number % 10 == 0))],
            mature=[("checkout", number % 14 < 7)],
            **{column: [] for column in ("covariates", "did_pre", "dimensions", "event_counts")},
        )
        for (arm, number), when in zip(users, at, strict=True)
        if number >= LEFT_OUT
    ]
    for rows in (assignments, cohort, outcomes):
        name, records = rows[0]["table"], [{k: v for k, v in row.items() if k != "table"} for row in rows]
        schema = pa.schema([field.with_nullable(True) for field in arrow_schema(TABLES[name])])
        append_by_user(project, name, pa.Table.from_pylist(records, schema=schema))


def append_by_user(project: Project, name: str, rows: pa.Table) -> None:
    """Append rows to a table in buckets of users without the buckets, which PyIceberg cannot compute here."""
    handle = load_handle(project, name)
    with handle.update_spec() as update:
        for field in handle.spec().fields:
            if isinstance(field.transform, BucketTransform):
                update.remove_field(field.name)
    handle.append(rows.cast(arrow_schema(TABLES[name])))


def _analysed(anchor: datetime) -> dict[str, Any]:
    return {"anchor_utc": anchor, "cohort_date": anchor.date()}


def _filled(table: str, arm: str, number: int, **values: Any) -> dict[str, Any]:
    """A row of a table by user: counts are 1 and flags false unless they are given."""
    blank = {"long!": 1, "int!": 0, "boolean!": False}
    row: dict[str, Any] = {column: blank.get(kind) for column, kind in TABLES[table].columns.items()}
    return row | {"table": table, "experiment_id": "exp_test", "user_id": f"{arm}_{number}", "variant_id": arm} | values
