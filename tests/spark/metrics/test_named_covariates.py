"""Covariates that a contract names and strata of the registry, from J4 to J6, against least squares on unit rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from tests.lakes import CANONICAL, Lake
from tests.spark.metrics.appending import append_outcomes
from tests.spark.metrics.test_unit_outcomes_stage import DAY, EXPERIMENT
from tests.stages import opened

from exp_platform.lake.tables.names import METRIC_STATISTICS
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.spark

START = datetime(2026, 1, 5, tzinfo=UTC)
LATE = START.date() + 60 * DAY  # every window has closed
USERS = 400
COUNTRIES = ("de", "fr", "it", None)
STAGES = ("build_unit_outcomes", "aggregate_metrics", "analyze_results", "validate_statistics")


@dataclass
class Users:
    """Numbers of each user: revenue after and before the assignment, and what else is known from before."""

    treated: Any
    country: Any  # place in COUNTRIES
    revenue: Any
    pre_revenue: Any
    pre_latency: Any  # NaN without an event
    pre_sessions: Any
    sessions: Any


def draw() -> Users:
    """Revenue follows four things, each of which one covariate shows; numbers are multiples of an eighth."""
    rng = np.random.default_rng(1)
    country, mood = rng.integers(0, len(COUNTRIES), USERS), rng.integers(0, 40, USERS) / 8
    sessions = rng.integers(0, 5, USERS)
    latency = np.where(rng.random(USERS) < 0.7, mood + 1, np.nan)
    habit = np.where(rng.random(USERS) < 0.6, rng.integers(0, 40, USERS) / 8, 0.0)
    noise = rng.integers(0, 16, USERS) / 8
    revenue = 1 + habit + mood + sessions + 2 * country + noise
    return Users(np.arange(USERS) % 3 == 0, country, revenue, habit, latency, sessions, rng.integers(0, 3, USERS))


def prepared(lake: Lake) -> Lake:
    """The shipped experiment, its revenue with two named covariates; `sessions` is none of its metrics."""
    experiment = lake.project.experiment(EXPERIMENT).model_copy(
        update={
            "analysis_mode": "itt", "dimensions": ("country",), "stratify_by": "country", "start_ts": START,
            "end_ts": START + 10 * DAY, "min_units": 20, "primary_metric": "revenue", "guardrails": (),
            "metrics": ("revenue", "latency", "revenue_per_session"),
        }
    )  # fmt: skip
    metrics = {name: metric.model_copy(update={"cap": None}) for name, metric in lake.project.metrics.items()}
    metrics["revenue"] = metrics["revenue"].model_copy(update={"covariates": ("latency", "sessions")})
    return Lake(replace(lake.project, experiments={EXPERIMENT: experiment}, metrics=metrics), lake.spark)


def land(lake: Lake, users: Users) -> None:
    """User i is assigned on day i % 3; events lie two days before, or an hour after."""
    start = int(START.timestamp())
    canonical = lake.canonical(EXPERIMENT, USERS).selectExpr(
        "* except (assignment_time_utc, variant_id)",
        "if(cast(user_id as int) % 3 = 0, 'treatment', 'control') as variant_id",
        f"timestamp_seconds({start} + cast(user_id as int) % 3 * 86400) as assignment_time_utc",
    )
    lake.publish(CANONICAL, canonical, EXPERIMENT, run_id="a")
    countries = [(str(i), COUNTRIES[c]) for i, c in enumerate(users.country) if COUNTRIES[c]]
    attributes = lake.spark.createDataFrame(countries, "user_id string, value string").selectExpr(
        f"'{EXPERIMENT}' as experiment_id", "user_id", "'country' as dimension", "value",
        "timestamp'2025-12-01' as attribute_ts", "'a' as source_file", "timestamp'2026-01-11' as ingested_at",
    )  # fmt: skip
    lake.publish("exp.attributes", attributes, EXPERIMENT, run_id="d")
    rows: list[tuple[int, str, float, int]] = []
    for i in range(USERS):
        rows += [(i, "revenue", float(users.revenue[i]), 3600), (i, "revenue", float(users.pre_revenue[i]), -172800)]
        rows += [(i, "sessions", 1.0, -172800 - k) for k in range(users.pre_sessions[i])]
        rows += [(i, "sessions", 1.0, 3600 + k) for k in range(users.sessions[i])]
        rows += [] if np.isnan(users.pre_latency[i]) else [(i, "latency", float(users.pre_latency[i]), -172800)]
    frame = lake.spark.createDataFrame(rows, "user int, metric_name string, value double, after int")
    outcomes = frame.selectExpr(
        f"'{EXPERIMENT}' as experiment_id", "cast(user as string) as user_id", "metric_name", "value",
        f"timestamp_seconds({start} + user % 3 * 86400 + after) as outcome_ts", "'f' as source_file",
        "cast(null as string) as event_id", "timestamp'2026-01-11' as ingested_at",
    )  # fmt: skip
    append_outcomes(lake, outcomes, EXPERIMENT, run_id="o")


def stages(lake: Lake, dt: date, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """J4 to J7; the rows that each published."""
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    rows: dict[str, list[dict[str, Any]]] = {}
    for name in STAGES:
        with opened(lake.project, EXPERIMENT, dt, run_id, name, spark=lake.spark) as ctx:
            BY_NAME[name].run(ctx)
            rows |= {table: ctx.read.arrow(table).to_pylist() for table in BY_NAME[name].publishes}
    return rows


def effect_by_least_squares(users: Users) -> tuple[float, float]:
    """Effect and variance reduction of a regression on unit rows, a unit weighing 1 / (n (n − 1)) of its arm."""
    arms = np.column_stack([~users.treated, users.treated]).astype(float)
    missing = np.isnan(users.pre_latency)
    covariates = [users.pre_revenue, np.where(missing, 0.0, users.pre_latency), missing, users.pre_sessions]
    x = np.column_stack([*covariates, *(users.country == c for c in range(3))]).astype(float)
    sizes = arms @ arms.sum(axis=0)
    fit = sm.WLS(users.revenue, np.hstack([arms, x]), weights=1 / (sizes * (sizes - 1))).fit()
    variances = [
        sum(values[arm].var(ddof=1) / arm.sum() for arm in (users.treated, ~users.treated))
        for values in (users.revenue, users.revenue - x @ fit.params[2:])
    ]
    n = arms.sum(axis=0)
    units = (1 / n).sum() ** 2 / (1 / n**3).sum()
    return fit.params[1] - fit.params[0], 1 - variances[1] / variances[0] * (units / (units - 6)) ** 2


def test_a_named_covariate_a_missing_one_and_strata_give_the_regression_on_unit_rows(lake: Lake) -> None:
    lake, users = prepared(lake), draw()
    land(lake, users)
    rows = stages(lake, LATE, "one")
    (row,) = (r for r in rows["exp.analysis_results"] if r["is_deciding"] and r["metric_name"] == "revenue")
    effect, reduction = effect_by_least_squares(users)
    assert (row["method"], row["status"], row["reason"]) == ("cuped", "ok", "")
    assert row["effect_abs"] == pytest.approx(effect, rel=1e-9)
    assert row["variance_reduction"] == pytest.approx(reduction, rel=1e-9)
    gains = dict(row["variance_reduction_by_covariate"])
    assert list(gains) == ["pre", "latency", "sessions", "country"] and min(gains.values()) > 0.02
    assert sum(gains.values()) == pytest.approx(reduction, rel=1e-9)
    segments = [r for r in rows["exp.analysis_results"] if r["metric_name"] == "revenue" and r["segment"] != "all"]
    assert {
        (len(r["variance_reduction_by_covariate"] or ()), r["reason"]) for r in segments if r["method"] == "cuped"
    } == {(3, "")}

    sums = [r for r in rows[METRIC_STATISTICS] if r["unit_bucket"] >= 0]
    names = {r["metric_name"]: r["covariates"] for r in sums}
    assert names["revenue"] == ["pre", "latency", "latency.missing", "sessions"] and names["latency"] == ["pre"]
    counted = sum(r["with_denominator"] for r in sums if r["metric_name"] == "revenue_per_session")
    assert counted == (users.sessions > 0).sum()
    assert all(r["with_denominator"] is None for r in sums if r["metric_name"] != "revenue_per_session")
