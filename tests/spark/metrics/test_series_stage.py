"""The series is complete whatever was published before: lost rows, a metric that is added, days without a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pyiceberg.expressions import EqualTo
from tests.lakes import CANONICAL, Lake
from tests.spark.metrics.appending import append_outcomes
from tests.spark.metrics.test_statistics_stage import outcomes
from tests.spark.metrics.test_unit_outcomes_stage import DAY, EXPERIMENT, assignments, everyone_assigned
from tests.stages import opened

from exp_platform.lake.tables.names import METRIC_SERIES, METRIC_STATISTICS
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.stages import aggregate_metrics, build_unit_outcomes
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.series_cube import series_cubes, series_days

pytestmark = pytest.mark.spark

START = datetime(2026, 1, 5, tzinfo=UTC)
ARMS = ("control", "treatment")


def stages(lake: Lake, dt: date, run_id: str) -> tuple[Any, Any, str]:
    """J4 and J5: the statistics and the series of a run, and what J5 said of the series."""
    lines: list[str] = []
    claim(lake.project, EXPERIMENT, run_id, dt, started_by="test")
    for stage in (build_unit_outcomes, aggregate_metrics):
        name = stage.__name__.rsplit(".", 1)[1]
        with opened(lake.project, EXPERIMENT, dt, run_id, name, spark=lake.spark, log=lines.append) as ctx:
            stage.run(ctx)
            if stage is aggregate_metrics:
                found = ctx.read.arrow(METRIC_STATISTICS), ctx.read.arrow(METRIC_SERIES)
    return *found, next(line for line in lines if "series:" in line)


def with_metrics(lake: Lake, *names: str) -> Lake:
    """The lake with an experiment over these metrics, without their caps, which move with the data."""
    known = everyone_assigned(lake).project.experiment(EXPERIMENT)
    changes: dict[str, Any] = {"start_ts": START, "end_ts": START + 20 * DAY, "metrics": names, "guardrails": ()}
    experiment = known.model_copy(update=changes | {"primary_metric": names[0], "dimensions": ()})
    metrics = {name: metric.model_copy(update={"cap": None}) for name, metric in lake.project.metrics.items()}
    return Lake(replace(lake.project, experiments={EXPERIMENT: experiment}, metrics=metrics), lake.spark)


def test_a_metric_added_after_the_series_was_lost_has_every_day_and_each_is_a_run_of_it(lake: Lake) -> None:
    lake.publish(CANONICAL, assignments(lake, START, users=24), EXPERIMENT, run_id="a0")
    for day in range(-3, 5):
        append_outcomes(lake, outcomes(lake, day), EXPERIMENT, run_id=f"o{day}")
    first = START.date() + DAY
    few = with_metrics(lake, "sessions")
    stages(few, first, "r1")
    _, series, said = stages(few, first + DAY, "r2")
    assert "one more day of 1 metrics, all days of 0 counted anew" in said, said
    assert series_days(series) == tuple(START.date() + timedelta(days=i) for i in range(3))

    lake.handle(METRIC_SERIES).delete(EqualTo("experiment_id", EXPERIMENT))
    more = with_metrics(lake, "sessions", "revenue", "revenue_per_session")
    _, series, said = stages(more, first + 3 * DAY, "r3")
    assert "one more day of 0 metrics, all days of 3 counted anew" in said, said
    days = series_days(series)
    assert days == tuple(START.date() + timedelta(days=i) for i in range(5)), "day 3 had no run"
    metrics = more.project.metrics_of(more.project.experiment(EXPERIMENT))
    found = {
        m.name: (cube, j) for cube in series_cubes(series, metrics, ARMS, days) for j, m in enumerate(cube.metrics)
    }
    for number in (1, 2):
        statistics, _, _ = stages(more, days[number], f"backfill of day {number}")
        for cube in cubes(statistics, metrics, read_axes(statistics, ARMS)):
            for j, metric in enumerate(cube.metrics):
                ours, i = found[metric.name]
                for name in ("n", "n_null", "y", "yy", "yyy", "d", "dd", "yd", "x", "xx", "xy", "dx"):
                    got = getattr(ours.overall, name)[:, i, number]
                    assert np.array_equal(got, getattr(cube.overall, name)[:, j, 0]), (metric.name, name, number)
                assert ours.overall.n[:, i, number].min() > 0
