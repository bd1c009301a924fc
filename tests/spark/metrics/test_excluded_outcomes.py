"""Days that reuse what they do not change, while outcomes of one day are excluded: the sums of a full refresh."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.lakes import CANONICAL, Lake
from tests.spark.metrics.appending import append_outcomes
from tests.spark.metrics.test_statistics_stage import START, outcomes, same_as_full, stages
from tests.spark.metrics.test_unit_outcomes_stage import DAY, EXPERIMENT, assignments, everyone_assigned

from exp_platform.config.models import Exclusion
from exp_platform.lake.tables.names import METRIC_SERIES

pytestmark = pytest.mark.spark

LOST = 2  # days after the start
EXCLUDED = (Exclusion(dates=(START + LOST * DAY).date(), what="outcomes", reason="lost", by="ana"),)


def excluding(lake: Lake, entries: tuple[Exclusion, ...]) -> Lake:
    known = lake.project.experiment(EXPERIMENT)
    keys = {"start_ts": START, "end_ts": START + 20 * DAY, "exclude": entries}
    return Lake(replace(lake.project, experiments={EXPERIMENT: known.model_copy(update=keys)}), lake.spark)


def test_days_that_go_by_and_exclusions_that_change_give_the_sums_of_a_full_refresh(lake: Lake) -> None:
    lake = excluding(everyone_assigned(lake), EXCLUDED)
    first = START.date() + 3 * DAY
    lake.publish(CANONICAL, assignments(lake, START, users=50), EXPERIMENT, run_id="a0")
    for day in range(-3, 4):
        append_outcomes(lake, outcomes(lake, day), EXPERIMENT, run_id=f"o{day}")
    lost, _ = stages(lake, first, "day 3")

    append_outcomes(lake, outcomes(lake, 4), EXPERIMENT, run_id="o4")
    same_as_full(lake, first + DAY, "a day more", empty=METRIC_SERIES)

    huge = outcomes(lake, LOST, users=20).selectExpr("* except (value)", "value * 100000 as value")
    append_outcomes(lake, huge, EXPERIMENT, run_id="late")
    said = same_as_full(lake, first + DAY, "late events on the excluded day", empty=METRIC_SERIES)
    assert "recomputed all statistics" not in said, said

    whole, said = stages(excluding(lake, ()), first + DAY, "nothing excluded")
    assert "the configuration has changed since" in said
    assert whole.keys() == lost.keys() and all(whole[table] != lost[table] for table in whole)
    again, _ = stages(lake, first + DAY, "excluded again")
    assert again == stages(lake, first + DAY, "excluded again, full", full_refresh=True)[0]
