"""Facts about outcomes before they are read: no value is far, or most events are of other users."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from exp_platform.lake.tables.names import COHORT, OUTCOMES
from exp_platform.pipelines import outcomes_read
from exp_platform.pipelines.outcomes_read import far_outcomes, mostly_of_others
from exp_platform.transforms import joins


def context(*, streamed: bool, units: int = 0, events: int = 0) -> Any:
    views = {OUTCOMES: "view"} if streamed else {}
    read = SimpleNamespace(
        at_least=lambda table: "stream" if table in views else "own",
        frame=lambda table: "names" if table in views else "own",
        rows_in={COHORT: units, OUTCOMES: events}.get,
    )
    return SimpleNamespace(run=SimpleNamespace(stream_views=views), read=read)


@pytest.mark.parametrize(
    ("streamed", "far", "answer", "read"),
    [
        (False, {"own"}, True, ["own"]),
        (False, set(), False, ["own"]),
        (True, set(), False, ["stream"]),
        (True, {"stream"}, False, ["stream", "names"]),
        (True, {"stream", "names"}, True, ["stream", "names"]),
    ],
)
def test_the_names_of_a_stream_are_read_only_where_some_row_of_it_is_far(
    streamed: bool, far: set[str], answer: bool, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def has_far_values(rows: str) -> bool:
        asked.append(rows)
        return rows in far

    monkeypatch.setattr(outcomes_read, "has_far_values", has_far_values)
    assert far_outcomes(context(streamed=streamed)) is answer
    assert asked == read


def test_others_events_are_left_out_where_a_unit_could_have_a_hundred_of_the_streams() -> None:
    assert mostly_of_others(context(streamed=True, units=10, events=1000))
    assert not mostly_of_others(context(streamed=True, units=10, events=999))
    assert not mostly_of_others(context(streamed=False, units=10, events=1000)), "a copy is not shuffled"
    assert not mostly_of_others(context(streamed=True, units=3_000_000, events=10**12)), "too many to hold"


def test_more_numbers_than_memory_is_meant_to_hold_are_not_sent_to_the_events() -> None:
    most = joins.NUMBERS_IN_MEMORY
    assert mostly_of_others(context(streamed=True, units=most, events=100 * most))
    assert not mostly_of_others(context(streamed=True, units=most + 1, events=1000 * most))
