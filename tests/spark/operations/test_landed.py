"""Events that landed between two runs: late ones, and those of a file that was written again, by source and day."""

from __future__ import annotations

import pytest
from tests.lakes import Lake
from tests.spark.operations.test_chain_of_runs import EARLY, FIRST, LATE, NEW_DAY, RESTATED, events, frame

from exp_platform.operations.landed import landing
from exp_platform.pipelines.dates import cutoff

pytestmark = pytest.mark.spark


def test_late_and_restated_events_are_told_apart_and_new_days_are_neither(lake: Lake) -> None:
    before, after = (frame(lake, "outcomes", events(rows)["outcomes"]) for rows in (EARLY, RESTATED + LATE + NEW_DAY))
    found = landing("exp.outcomes", before, after, cutoff(FIRST))
    assert [one.text for one in found.found] == [
        "4 late outcomes of revenue on 2026-01-06",
        "7 more and 8 fewer outcomes of revenue on 2026-01-06",
    ]
    assert found.late.count() == len(LATE) + len(NEW_DAY), "events of files that the first run had not read"
