"""A lake of its own for each test file, under the session that all share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.lakes import Lake
from tests.sessions import session_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """An empty lake."""
    project = make_project(tmp_path_factory.mktemp("lake"))
    empty_lake(project)
    yield Lake(project, session_for(spark, project))
