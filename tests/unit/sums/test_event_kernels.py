"""The kernels of the pass over events, against loops over the events: exact, whatever the batches and their order."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from math import fsum
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.oracle.spine_data import metric

from exp_platform.metrics.values import DAY_US, Period, micros
from exp_platform.sums import event_columns as event_columns_module
from exp_platform.sums import event_days as event_days_module
from exp_platform.sums import panel_events as panel_events_module
from exp_platform.sums.calendar_sums import CALENDAR_SCHEMA, CalendarSums, calendar_totals
from exp_platform.sums.event_bins import EVENT_BINS_SCHEMA, EventBins
from exp_platform.sums.event_columns import Cell, EventColumns, kinds_of, run_kernels, unpacked
from exp_platform.sums.event_days import EventDays
from exp_platform.sums.panel_events import PanelDays, panel_cells
from exp_platform.sums.panel_sums import PANEL_SUMS_SCHEMA, PanelCut, totals
from exp_platform.sums.panels import Panel

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
A, B = (Cell(name, Period("post", end_us=7 * DAY_US)) for name in "ab")
PANELS = (Panel("a", "sum", 3), Panel("a", "count", 3), Panel("b", "any", 3))
NAMES = EventColumns(("a", "b"), (A, B, *panel_cells(PANELS)), ("age", "country"))
VALUES = (0.1, 19.99, -3.75, 1e6, 7.0, 1.0 / 3.0)
FAR = (1e15, 0.25, 2.0**40, -7.7e13)
Event = dict[str, Any]


def some_events(seed: int, values: tuple[float, ...] = VALUES, count: int = 400) -> list[Event]:
    """Events of users of two arms within three days of their assignment on Monday noon, in either direction."""
    random, found = Random(seed), []
    noon = micros(MONDAY + timedelta(hours=12))
    for _ in range(count):
        user, source = random.randrange(9), random.choice("ab")
        time = noon + random.randrange(-3 * DAY_US, 3 * DAY_US)
        known = dict([("country", "de" if user % 2 else "fr"), ("age", "old")][: user % 3])
        found.append(
            {
                "user_id": f"u{user}", "unit": user << 33, "variant_id": "control" if user % 2 else "treatment",
                "cohort_date": MONDAY.date(), "unit_bucket": user, "d0": known.get("age"), "d1": known.get("country"),
                "source": "ab".index(source), "event_us": time, "assignment_us": noon, "value": random.choice(values),
            }
            | {NAMES.flag(cell): cell.source == source and (time >= noon) == (cell in (A, B)) for cell in NAMES.cells}
        )  # fmt: skip
    return found


SCHEMA = pa.schema(
    [
        ("user_id", pa.string()), ("unit", pa.int64()), ("variant_id", pa.string()), ("cohort_date", pa.date32()),
        ("unit_bucket", pa.int32()), ("d0", pa.string()), ("d1", pa.string()), ("source", pa.int32()),
        ("event_us", pa.int64()), ("assignment_us", pa.int64()), ("value", pa.float64()),
        *((NAMES.flag(cell), pa.bool_()) for cell in NAMES.cells),
    ]
)  # fmt: skip


def rows_of(events: list[Event], start: Any, schema: pa.Schema, *, size: int = 7, far: bool = False) -> pa.Table:
    """The rows of one kernel in one partition, as they come to the driver."""
    batches = pa.Table.from_pylist(events, SCHEMA).to_batches(size)
    packed = pa.Table.from_batches(
        list(run_kernels(batches, [start], NAMES, far)), pa.schema([("part", pa.int32()), ("rows", pa.binary())])
    )
    return unpacked(packed, [schema])[0]


def segments(event: Event) -> list[str]:
    return ["all", *(f"{n}={event[d]}" for n, d in (("age", "d0"), ("country", "d1")) if event[d] is not None)]


@pytest.mark.parametrize("values", [VALUES, (*VALUES, *FAR)], ids=["near", "far"])
def test_calendar_sums_are_exact_by_arm_segment_and_day_in_any_partition(values: tuple[float, ...]) -> None:
    events, far = some_events(1, values), values != VALUES
    expected: dict[Any, list[float]] = defaultdict(list)
    for event in events:
        if event[NAMES.flag(A)]:
            for segment in segments(event):
                expected[event["variant_id"], segment, event["event_us"] // DAY_US].append(event["value"])
    parts = [
        rows_of(
            Random(2).sample(mine, len(mine)), lambda: CalendarSums((A,), NAMES), CALENDAR_SCHEMA, size=size, far=far
        )
        for mine, size in ((events[::2], 5), (events[1::2], 1000))
    ]
    found = calendar_totals(pa.concat_tables(parts), (A,))[A]
    assert {group: n for group, (n, _) in found.items()} == {group: len(mine) for group, mine in expected.items()}
    for group, mine in expected.items():
        total = found[group][1]
        assert total == pytest.approx(fsum(mine), rel=1e-15) if far else total == fsum(mine), group
    whole = calendar_totals(rows_of(events, lambda: CalendarSums((A,), NAMES), CALENDAR_SCHEMA, far=far), (A,))[A]
    assert whole == found, "one partition and two give the same bytes"


def test_a_far_value_that_nobody_expected_is_refused_with_its_source() -> None:
    with pytest.raises(ValueError, match=r"none was expected: [ab]$"):
        rows_of(some_events(1, FAR), lambda: CalendarSums((A,), NAMES), CALENDAR_SCHEMA)


@pytest.mark.parametrize("waiting", [1, 250_000], ids="{} events wait".format)
def test_panels_of_events_are_those_of_a_loop_over_users_and_days(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_events_module, "ROWS", waiting)
    events, cut = some_events(3), PanelCut.of(PANELS, {"a": 1e6}, 1000)
    by_day: dict[Any, list[float]] = defaultdict(list)
    for event in events:
        day = (event["event_us"] - event["assignment_us"]) // DAY_US
        if day < 0:
            by_day[event["unit"], event["variant_id"], "ab"[event["source"]], day].append(event["value"])
    expected: dict[Any, list[float]] = defaultdict(list)
    for (_, arm, source, day), mine in by_day.items():
        for k, panel in enumerate(PANELS):
            if panel.source == source:
                value = {"sum": fsum(mine), "count": float(len(mine)), "any": float(max(mine) > 0)}[panel.aggregation]
                expected[k, arm, MONDAY.date(), day].append(value)
    rows = rows_of(events, lambda: PanelDays(PANELS, cut, NAMES), PANEL_SUMS_SCHEMA)
    sums, _, _ = totals(rows, cut.exponents)
    assert sums == pytest.approx({key: fsum(values) for key, values in expected.items()}, rel=1e-15)


def test_panels_keep_the_sums_of_the_clusters_that_units_have() -> None:
    events, cut = some_events(3), PanelCut.of(PANELS, {"a": 1e6}, 1000)
    counted: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for event in events:
        if event["source"] == 0 and event["event_us"] < event["assignment_us"] and event["d1"] is not None:
            day = (event["event_us"] - event["assignment_us"]) // DAY_US
            counted[1, event["variant_id"], MONDAY.date(), day][event["d1"]] += 1
    rows = rows_of(events, lambda: PanelDays(PANELS, cut, NAMES, cluster="country"), PANEL_SUMS_SCHEMA)
    _, _, clusters = totals(rows, cut.exponents)
    assert {key: found for key, found in clusters.items() if key[0] == 1} == counted
    assert {name for found in counted.values() for name in found} == {"de", "fr"}


def test_bins_count_each_event_once_in_every_group_of_its_user_up_to_the_cap() -> None:
    events = [event for event in some_events(4) if event[NAMES.flag(A)]]
    contract = metric("slow", "quantile", quantile=0.9, level="event", cap={"value": 19.99})
    rows = rows_of(events, lambda: EventBins(((3, contract, A),), NAMES), EVENT_BINS_SCHEMA).to_pylist()
    counted: dict[Any, int] = defaultdict(int)
    for event in events:
        arm = event["variant_id"]
        counted[arm, "all", None, event["unit_bucket"]] += 1
        for segment in segments(event):
            counted[arm, segment, date(2026, 1, 5), -1] += 1
    found = {
        (row["variant_id"], row["segment"], row["cohort_date"], row["unit_bucket"]): sum(row["bin_units"])
        for row in rows
    }
    assert found == counted
    assert max(high for row in rows for high in row["bin_highs"]) == 19.99 and {row["metric"] for row in rows} == {3}


@pytest.mark.parametrize("kinds", [("hi", "lo", "positive", "max", "last"), ("hi", "lo", "far")], ids=["near", "far"])
def test_events_of_a_day_add_up_alike_whenever_they_are_added_up(
    kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [event for event in some_events(5, (*VALUES, *FAR) if "far" in kinds else VALUES) if event[NAMES.flag(A)]]
    frame = pa.Table.from_pylist(events, SCHEMA).append_column("f0", pa.array([True] * len(events)))

    def added(waiting: int, size: int) -> dict[Any, dict[str, Any]]:
        monkeypatch.setattr(event_days_module, "ROWS", waiting)
        days = EventDays(kinds, 1, micros(MONDAY) // DAY_US)
        for batch in frame.to_batches(size):
            days.add(batch)
        days.add_up()
        source, unit, day = (part.tolist() for part in days.parts)
        keys = zip(source, (days.users[u].as_py() for u in unit), day, strict=True)
        return {key: {name: column[i] for name, column in days.columns.items()} for i, key in enumerate(keys)}

    once = added(250_000, 1000)
    assert once == added(3, 2)
    assert sum(row["n0"] for row in once.values()) == len(events)


@pytest.mark.parametrize("few", [1, 2**20], ids="{} kinds may be counted".format)
def test_rows_are_told_apart_by_all_of_their_keys(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_columns_module, "FEW", few)
    keys = [(np.array([0, 1, 1, 0]), 2), (np.array([2, 0, 0, 2]), 3), (np.array([0, 4, 1, 0]), 5)]
    place, kinds = kinds_of(keys)
    assert len(kinds[0]) == 3, "what does not occur is no kind"
    assert [kind[place].tolist() for kind in kinds] == [key.tolist() for key, _ in keys]


def test_batches_are_put_together_before_kernels_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_columns_module, "ENOUGH", 150)
    taken: list[int] = []

    class Counts:
        def add(self, batch: pa.RecordBatch) -> None:
            taken.append(len(batch))

        def rows(self) -> Any:
            return iter(())

    list(run_kernels(pa.Table.from_pylist(some_events(6), SCHEMA).to_batches(100), [Counts], NAMES))
    assert taken == [200, 200]


def test_kernels_take_the_same_events_and_give_rows_of_their_own() -> None:
    events = some_events(6)
    cut = PanelCut.of(PANELS, {"a": 1e6}, 1000)
    starts: list[Any] = [lambda: CalendarSums((A, B), NAMES), lambda: PanelDays(PANELS, cut, NAMES)]
    batches = pa.Table.from_pylist(events, SCHEMA).to_batches(50)
    packed = pa.Table.from_batches(list(run_kernels(batches, starts, NAMES)))
    calendar, panel = unpacked(packed, [CALENDAR_SCHEMA, PANEL_SUMS_SCHEMA])
    assert calendar_totals(calendar, (A, B)) == calendar_totals(rows_of(events, starts[0], CALENDAR_SCHEMA), (A, B))
    assert totals(panel, cut.exponents) == totals(rows_of(events, starts[1], PANEL_SUMS_SCHEMA), cut.exponents)
