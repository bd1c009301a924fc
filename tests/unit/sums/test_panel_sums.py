"""Sums and cross products of daily values: those of a loop over units, whatever the partitions and the order."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from itertools import combinations_with_replacement
from math import fsum
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.sums import panel_sums as panel_sums_module
from exp_platform.sums.exact_sums import Limbs
from exp_platform.sums.panel_sums import PANEL_REACH, PanelCut, UnitDays, numbered, panel_sums, sources_of, totals
from exp_platform.sums.panels import Panel, PanelSums, panel_rows

PANELS = (Panel("revenue", "sum", 3), Panel("visits", "count", 2), Panel("visits", "any", 3))
REVENUE, VISITS = sources_of(PANELS).index("revenue"), sources_of(PANELS).index("visits")
MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)

Row = tuple[int, str, date, int, int, float, int, int]  # unit, arm, cohort date, source, day, total, events, positive


def table(rows: list[Row], store_of: Callable[[int], str | None] | None = None) -> pa.Table:
    names = ("unit", "variant_id", "cohort_date", "source", "day", "total", "events", "positive")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    if store_of is not None:
        columns["cluster"] = pa.array([store_of(unit) for unit in columns["unit"]], pa.string())
    return pa.table({**columns, "day": pa.array(columns["day"], pa.int32())})


def with_cells(batch: pa.RecordBatch, known: dict, store_of: Any = None) -> pa.RecordBatch:
    return batch.append_column("cell", pa.array(numbered(batch, known, None if store_of is None else "cluster")))


def answer(
    partitions: list[list[Row]], largest: float = 100.0, store_of: Callable[[int], str | None] | None = None
) -> tuple[dict, dict, dict]:
    exponents = PanelCut.of(PANELS, {"revenue": largest}, 1000).exponents
    limbs = Limbs(1000, PANEL_REACH)
    batches = []
    for rows in partitions:
        known: dict = {}
        mine = [with_cells(batch, known, store_of) for batch in table(rows, store_of).to_batches(2)]
        batches += panel_sums(mine, known, PANELS, exponents, limbs)
    return totals(pa.Table.from_batches(batches), exponents)


def test_one_unit_with_two_days_gives_two_sums_and_three_products_of_each_panel() -> None:
    rows: list[Row] = [
        (7, "a", MONDAY, REVENUE, -3, 2.5, 1, 1),
        (7, "a", MONDAY, REVENUE, -1, 4.0, 2, 1),
        (7, "a", MONDAY, VISITS, -3, 0.0, 2, 0),  # beyond the days of the count's panel, and nothing above 0
        (7, "a", MONDAY, VISITS, -1, 3.0, 3, 1),
    ]
    sums, products, clusters = answer([rows])
    assert clusters == {}, "and a sum of 0 is left out"
    assert sums == {
        (0, "a", MONDAY, -3): 2.5, (0, "a", MONDAY, -1): 4.0, (1, "a", MONDAY, -1): 3.0,
        (2, "a", MONDAY, -1): 1.0,
    }  # fmt: skip
    assert products == {
        (0, "a", MONDAY, -3, -3): 6.25, (0, "a", MONDAY, -3, -1): 10.0, (0, "a", MONDAY, -1, -1): 16.0,
        (1, "a", MONDAY, -1, -1): 9.0,
        (2, "a", MONDAY, -1, -1): 1.0,
    }  # fmt: skip


def some_rows(random: Random, units: int) -> list[Row]:
    return [
        (unit, random.choice("ab") if unit % 7 else "a", MONDAY if unit % 2 else TUESDAY, source, -day, total, n, n % 2)
        for unit in range(units)
        for source in (REVENUE, VISITS)
        for day in random.sample((1, 2, 3), k=random.randrange(4))
        for total, n in [(random.random() * 99, random.randrange(1, 5))]
    ]


@pytest.mark.parametrize("block", [1, panel_sums_module.ROWS], ids="blocks of {} rows or more".format)
def test_a_loop_over_units_gives_the_same_and_so_does_every_order_and_partition(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_sums_module, "ROWS", block)
    rows = [(u, "a" if u % 3 else "b", *rest) for u, _, *rest in some_rows(Random(4), 90)]
    by_unit: dict[tuple[int, int], dict[int, tuple[str, date, float]]] = defaultdict(dict)
    for unit, arm, day, source, at, total, events, positive in rows:
        for k, panel in enumerate(PANELS):
            value = {"sum": total, "count": float(events), "any": float(positive)}[panel.aggregation]
            if sources_of(PANELS)[source] == panel.source and at >= -panel.days:
                by_unit[k, unit][at] = (arm, day, value)
    expected = defaultdict(list)
    for (k, _), days in by_unit.items():
        for i, j in combinations_with_replacement(sorted(days), 2):
            arm, day, value = days[i]
            expected[k, arm, day, i, j].append(value * days[j][2])
    sums, products, _ = answer([rows])
    assert products == pytest.approx({key: fsum(values) for key, values in expected.items() if any(values)}, rel=1e-15)

    random = Random(9)
    for parts in (2, 5):
        split = [[row for row in rows if row[0] % parts == k] for k in range(parts)]
        again = answer([random.sample(part, len(part)) for part in split])
        assert (sums, products, {}) == again, "the same bytes"


@pytest.mark.parametrize("parts", [1, 3])
def test_clusters_have_sums_of_their_own_and_change_no_other(parts: int) -> None:
    """A unit without a store is in no cluster, but in its arm."""
    rows = some_rows(Random(4), 60)
    names = ("east", "west", None)
    split = [[row for row in Random(parts).sample(rows, len(rows)) if row[0] % parts == k] for k in range(parts)]
    sums, products, clusters = answer(split, store_of=lambda unit: names[unit % 3])
    assert (sums, products, {}) == answer([rows])
    expected: dict = defaultdict(lambda: defaultdict(list))
    for unit, arm, day, source, at, total, events, positive in rows:
        for k, panel in enumerate(PANELS):
            if sources_of(PANELS)[source] == panel.source and at >= -panel.days and names[unit % 3]:
                value = {"sum": total, "count": float(events), "any": float(positive)}[panel.aggregation]
                expected[k, arm, day, at][names[unit % 3]].append(value)
    assert {key: dict(found) for key, found in clusters.items()} == {
        key: {store: pytest.approx(fsum(values), rel=1e-15) for store, values in found.items() if any(values)}
        for key, found in expected.items()
        if any(map(any, found.values()))
    }


def test_rows_of_a_day_with_itself_hold_the_units_and_sums_of_clusters_by_name() -> None:
    panel = Panel("revenue", "sum", 2)
    found = PanelSums({(0, "a", MONDAY, -1): 5.0}, {}, {(0, "a", MONDAY, -1): {"west": 5.0}})
    schema = arrow_schema(TABLES["gold.fct_experiment_panel_statistics"])
    units, clusters = {("a", MONDAY): 9, ("b", MONDAY): 4}, {("a", MONDAY): {"west": 3, "east": 4}}
    rows = panel_rows("exp", {"revenue": panel}, [panel], units, clusters, found, schema).to_pylist()
    got = {(r["variant_id"], r["day_i"], r["day_j"]): (r["cluster_units"], r["cluster_sums"]) for r in rows}
    assert got == {
        ("a", -2, -2): ([("east", 4), ("west", 3)], [("east", 0.0), ("west", 0.0)]),
        ("a", -2, -1): (None, None),
        ("a", -1, -1): ([("east", 4), ("west", 3)], [("east", 0.0), ("west", 5.0)]),
        **{("b", i, j): (None, None) for i, j in ((-2, -2), (-2, -1), (-1, -1))},
    }


@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 30), st.randoms(use_true_random=False))
def test_blocks_hold_whole_units_in_the_order_of_their_days(units: int, size: int, block: int, random: Random) -> None:
    """Units are numbered as Spark does, by partition and row."""
    rows = [(unit << 33 | unit % 7, *rest) for unit, *rest in some_rows(random, units)]
    rows = random.sample(rows, len(rows))
    held = UnitDays.of(PANELS, VISITS)
    for batch in table(rows).to_batches(size) if rows else []:
        held.add(batch.append_column("cell", pa.array(np.arange(len(batch), dtype=np.int32))))
    blocks = list(held.blocks(block))
    got = [
        (int(unit), int(day), int(n), int(positive))
        for days in blocks
        for unit, day, n, positive in zip(days.unit, days.day, days.values["count"], days.values["any"], strict=True)
    ]
    want = [(r[0], r[4], r[6], r[7]) for r in rows if r[3] == VISITS]
    assert got == sorted(want)
    assert all(len(days.unit) >= block for days in blocks[:-1])
    of_block = [set(days.unit.tolist()) for days in blocks]
    assert sum(map(len, of_block)) == len({row[0] for row in want}), "no unit is cut in two"


def test_what_no_panel_asks_for_is_not_held() -> None:
    held = UnitDays.of(PANELS, REVENUE)
    rows: list[Row] = [(7, "a", MONDAY, REVENUE, -4, 2.5, 1, 1), (7, "a", MONDAY, REVENUE, -3, 4.0, 2, 1)]
    held.add(with_cells(table(rows).to_batches()[0], {}))
    (days,) = held.blocks(9)
    assert days.day.tolist() == [-3] and {k: v.tolist() for k, v in days.values.items()} == {"sum": [4.0]}


def test_more_events_of_a_day_than_are_held_are_refused() -> None:
    rows: list[Row] = [(1, "a", MONDAY, VISITS, -1, 1.0, 2**31, 1)]
    with pytest.raises(pa.ArrowInvalid):
        answer([rows])


def test_a_day_that_is_too_large_for_exact_sums_is_refused() -> None:
    rows: list[Row] = [(1, "a", MONDAY, REVENUE, -1, 2.0**22, 9, 1)]
    with pytest.raises(ValueError, match="no exact sums"):
        answer([rows], largest=1.0)


def test_no_rows_give_no_sums() -> None:
    assert list(panel_sums([], {}, PANELS, {}, Limbs(10))) == []


def test_a_panel_is_kept_only_where_it_would_be_cut_alike_today() -> None:
    before = PanelCut.of(PANELS, {"revenue": 100.0, "visits": 1.0}, 1000)
    notes = json.loads(json.dumps(before.notes()))
    assert PanelCut.of(PANELS, {"revenue": 127.0}, 1023, notes).same_as(notes), "the same power of two"
    assert not PanelCut.of(PANELS, {"revenue": 129.0}, 1000, notes).same_as(notes), "a larger event"
    assert PanelCut.of(PANELS, {"revenue": 1.0}, 1000, notes).largest["revenue"] == 100.0, "what was seen before counts"
    assert PanelCut.of(PANELS, {"visits": 4000.0}, 1000, notes).same_as(notes), "counts are exact whatever the events"
    assert not PanelCut.of(PANELS, {}, 5_000_000, notes).same_as(notes), "more units, other limbs"
    assert not before.same_as({})
