"""A day goes to Spark as text: the year 1 is a day like others, and each day begins with its first instant."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from exp_platform.transforms.sql import not_before

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_events_of_a_day_and_later_are_kept(spark: SparkSession) -> None:
    events = spark.sql(
        "SELECT timestamp(t) AS t FROM VALUES ('0001-01-01 00:00:00'), ('2026-01-04 23:59:59.999999'), "
        "('2026-01-05 00:00:00'), ('9999-12-31 23:59:59') AS events (t)"
    )
    kept = {day: events.where(not_before("t", day)).count() for day in (date(1, 1, 1), date(2026, 1, 5))}
    assert kept == {date(1, 1, 1): 4, date(2026, 1, 5): 2}
