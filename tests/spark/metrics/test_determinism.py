"""J4 and J5 give equal bytes whatever the partitions, the order of the rows and the plan that Spark chooses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.conftest import ROOT, make_project
from tests.oracle.spine_data import CUTOFF, END, METRICS, VARIANTS, Data
from tests.oracle.test_spine_oracle import awkward

from exp_platform.lake.batches import FrameBatches
from exp_platform.transforms.aggregates import calendar_part
from exp_platform.transforms.event_pass import EventPass
from exp_platform.transforms.metric_tables import metric_tables
from exp_platform.transforms.sum_inputs import SumInputs
from exp_platform.transforms.unit_outcomes import unit_outcomes
from exp_platform.transforms.unit_partials import has_far_values

pytestmark = pytest.mark.spark

VALUE_METRICS = tuple(m for m in METRICS if m.name in ("sum_a", "mean_a", "last_b", "median_a", "events_a", "per_b"))


@contextmanager
def settings(spark: Any, **values: str) -> Iterator[None]:
    """Session settings for a while; underscores stand for dots."""
    names = {key.replace("__", "."): value for key, value in values.items()}
    before = {name: spark.conf.get(name) for name in names}
    for name, value in names.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def everything(spark: Any, data: Data, partitions: int) -> dict[str, Any]:
    """Every row that J4 and J5 make of the data."""
    cohort, outcomes = data.frames(spark, partitions)
    far = has_far_values(outcomes)
    units = unit_outcomes(cohort, outcomes, VALUE_METRICS, end_ts=END, cutoff=CUTOFF, far=far).persist()
    rows = sorted(units.toArrow().to_pylist(maps_as_pydicts="strict"), key=lambda row: row["user_id"])
    tables = metric_tables(
        SumInputs("exp_spine", FrameBatches(units), cohort, outcomes, VALUE_METRICS, VARIANTS, END, CUTOFF, far)
    )
    units.unpersist()
    return {"units": rows} | {name: table.to_pylist(maps_as_pydicts="strict") for name, table in tables.rows.items()}


def shuffled(data: Data, seed: int) -> Data:
    """The data with their rows in another order."""
    random = Random(seed)
    return Data(random.sample(data.cohort, len(data.cohort)), random.sample(data.outcomes, len(data.outcomes)))


def test_rows_in_another_order_and_other_partitions_give_the_same_bytes(spark: Any) -> None:
    data = awkward(Random(3), users=80)
    for value in (1e15, 3.3e14, 0.1, 7.7e13, 1.0 / 3.0):  # too large for the usual sums, beside small ones
        data.event("u001", data.cohort[1]["anchor_utc"], value)
    once = everything(spark, data, partitions=1)
    with settings(spark, spark__sql__shuffle__partitions="5", spark__sql__adaptive__enabled="false"):
        again = everything(spark, shuffled(data, 4), partitions=7)
    for name, rows in once.items():
        assert repr(rows) == repr(again[name]), name


def digest(spark: Any) -> str:
    """Digest of all rows that J4 and J5 make of one set of awkward data, in as many partitions as cores."""
    cores = spark.sparkContext.defaultParallelism
    found = everything(spark, shuffled(awkward(Random(3), users=80), cores), partitions=cores)
    return hashlib.sha256(repr(found).encode()).hexdigest()


def test_one_core_or_four_give_the_same_bytes(spark: Any, tmp_path: Path) -> None:
    """Sessions of their own: the number of cores is settled when the JVM starts."""
    code = (
        "import sys; from tests.spark.metrics.test_determinism import digest; "
        "from exp_platform.spark.session import build_spark_session; "
        "print(digest(build_spark_session('cores', sys.argv[1])))"
    )
    found = {"local[2]": digest(spark)}
    for master in ("local[1]", "local[4]"):
        project = make_project(tmp_path / master, spark={"master": master, "driver_memory": "1g"})
        command = [sys.executable, "-c", code, str(project.path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found[master] = done.stdout.split()[-1]
    assert len(set(found.values())) == 1, found


def test_a_sum_is_the_exact_sum_rounded_once(spark: Any) -> None:
    import math

    data = Data()
    random = Random(5)
    at = CUTOFF.replace(day=6)
    values = [random.uniform(-1000, 1000) * 10 ** random.randrange(-2, 6) for _ in range(500)]
    data.unit("u", at)
    for i, value in enumerate(values):
        data.event("u", at.replace(microsecond=i), value)
    cohort, outcomes = data.frames(spark)
    metric = next(m for m in METRICS if m.name == "sum_a")
    row = unit_outcomes(cohort, outcomes, [metric], end_ts=END, cutoff=CUTOFF).collect()[0]
    assert row["metrics"]["sum_a"] == math.fsum(values)


@pytest.mark.parametrize("size", [2.0**32, -(2.0**32), 1e300])
def test_every_pass_over_events_refuses_a_far_value_that_nobody_expected(spark: Any, size: float) -> None:
    data = Data()
    at = CUTOFF.replace(day=6)
    data.unit("u", at)
    data.event("u", at, size)
    data.event("u", at - timedelta(hours=5), size)
    cohort, outcomes = data.frames(spark)
    with pytest.raises(Exception, match="none was expected: a"):
        EventPass(cohort, outcomes, CUTOFF).run([calendar_part(METRICS, END)])
    with pytest.raises(Exception, match="none was expected: a"):
        unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF).collect()


def test_a_far_value_that_nobody_expected_is_refused_rather_than_lost(spark: Any) -> None:
    data = Data()
    at = CUTOFF.replace(day=6)
    data.unit("u", at)
    data.event("u", at, 1e15)
    cohort, outcomes = data.frames(spark)
    metric = next(m for m in METRICS if m.name == "sum_a")
    with pytest.raises(Exception, match="none was expected"):
        unit_outcomes(cohort, outcomes, [metric], end_ts=END, cutoff=CUTOFF).collect()
    row = unit_outcomes(cohort, outcomes, [metric], end_ts=END, cutoff=CUTOFF, far=True).collect()[0]
    assert row["metrics"]["sum_a"] == 1e15
