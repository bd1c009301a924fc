"""A stage that is given a session computes its dates in UTC, whatever zone the session's owner lives in."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from exp_platform.pipelines.lazy_session import Session


def test_a_session_of_another_zone_is_set_to_utc_before_a_stage_uses_it() -> None:
    spark: Any = Mock()
    session = Session.given(spark)
    spark.conf.set.assert_not_called()
    assert session() is spark
    spark.conf.set.assert_called_once_with("spark.sql.session.timeZone", "UTC")
