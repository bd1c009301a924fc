"""One lake for each test file, one experiment for each test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.ingest_lake import IngestLake, make_lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def shared_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> IngestLake:
    """An empty lake."""
    return make_lake(spark, tmp_path_factory.mktemp("ingest"))


@pytest.fixture
def lake(shared_lake: IngestLake, request: pytest.FixtureRequest) -> IngestLake:
    """The lake with an experiment named after the test."""
    return shared_lake.with_experiment(re.sub(r"\W+", "_", request.node.name).lower()[:60])
