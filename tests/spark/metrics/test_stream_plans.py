"""How Spark runs the spine over a stream: of the files it reads only the columns, names and days that are needed."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from tests.conftest import make_project
from tests.oracle.spine_data import CUTOFF, END, METRICS
from tests.oracle.test_spine_oracle import awkward
from tests.sessions import session_for
from tests.spark.metrics.test_plans import plan_of

from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.tables.names import COHORT, STREAM_OUTCOMES
from exp_platform.pipelines.stream_view import StreamView
from exp_platform.transforms.unit_outcomes import unit_columns

pytestmark = pytest.mark.spark

ID = "exp_spine"


@pytest.fixture(scope="module")
def frames(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cohort, and the events that its experiment reads of one of two streams."""
    project = make_project(tmp_path_factory.mktemp("stream_plans"))
    ensure_tables(project, names=(COHORT, STREAM_OUTCOMES))
    session = session_for(spark, project, compiled=True, broadcast=False)
    cohort, outcomes = awkward(Random(6), users=60).frames(session)
    cohort.writeTo(f"iceberg.{COHORT}").append()
    columns = ("user_id", "metric_name", "value", "outcome_ts", "'f' as source_file", "now() as ingested_at")
    for stream in ("shop_events", "other_events"):
        outcomes.selectExpr(f"'{stream}' as stream", *columns).writeTo(f"iceberg.{STREAM_OUTCOMES}").append()
    sources = tuple(sorted({source for metric in METRICS for source in metric.sources}))
    view = StreamView("outcomes", ID, (("shop_events", sources),), ("control", "treatment"), None)
    stored = session.table(f"iceberg.{STREAM_OUTCOMES}")
    return session.table(f"iceberg.{COHORT}").where(f"experiment_id = '{ID}'"), view.rows(stored), outcomes


def test_neither_files_nor_times_of_ingest_are_read(frames: Any) -> None:
    cohort, events, _ = frames
    plan = plan_of(unit_columns(cohort, events, METRICS, end_ts=END, cutoff=CUTOFF))
    assert "source_file" not in plan and "ingested_at" not in plan
    assert "filters=stream = 'shop_events', metric_name IN (" in plan


def test_units_are_those_of_the_events_themselves(frames: Any) -> None:
    cohort, events, outcomes = frames
    said, expected = (
        sorted(map(repr, unit_columns(cohort, one, METRICS, end_ts=END, cutoff=CUTOFF).collect()))
        for one in (events, outcomes)
    )
    assert said == expected
