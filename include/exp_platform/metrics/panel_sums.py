"""Batches of daily values before assignment to exact sums and cross products; NumPy on columns, no session needed.

A row comes in for each unit × source × day with an event, all rows of a unit in the same partition. A row goes out for
each panel × arm × cohort date × pair of days: the limbs of the sum of products, and, with day_j null, of the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.metrics.exact_sums import REACH, Limbs, Numbers
from exp_platform.metrics.panels import Panel
from exp_platform.metrics.scales import exponent_of, power_of_two

Codes = NDArray[np.int64]
# A day's sum is below 2^20 times its largest event, so its exponent is that generous; a product's is twice that, and 70
# bits are to remain.
EVENTS_OF_A_DAY = 20
PANEL_REACH = REACH + 2 * EVENTS_OF_A_DAY

Sums = dict[tuple[int, str, date, int], float]
Products = dict[tuple[int, str, date, int, int], float]

PANEL_SUMS_SQL = "panel int, variant_id string, cohort_date date, day_i int, day_j int, limbs array<double>"
PANEL_SUMS_SCHEMA = pa.schema(
    [
        ("panel", pa.int32()),
        ("variant_id", pa.string()),
        ("cohort_date", pa.date32()),
        ("day_i", pa.int32()),
        ("day_j", pa.int32()),
        ("limbs", pa.list_(pa.float64())),
    ]
)


def sources_of(panels: Sequence[Panel]) -> list[str]:
    """The sources of some panels, each once; a row's source is its place here."""
    return sorted({panel.source for panel in panels})


@dataclass(frozen=True)
class PanelCut:
    """How values are cut before they are added up; two panels have the same bytes only where they were cut alike.

    For each panel there is an exponent with |value of a day| <= 2^exponent, from the largest event of its source.
    Counts are whole numbers, whose sums are exact as they are: 0.
    """

    exponents: Mapping[int, int]
    limbs: Limbs
    largest: Mapping[str, float]  # event by source

    @classmethod
    def of(
        cls, panels: Sequence[Panel], largest: Mapping[str, float], units: int, last: Mapping[str, Any] | None = None
    ) -> PanelCut:
        """From the largest event of each source; beside `last`, an earlier cut's notes, that of the events since."""
        before = last["largest"] if last else {}
        bounds = {name: max(largest.get(name, 0.0), before.get(name, 0.0)) for name in sources_of(panels)}
        exponents = {
            i: exponent_of(bounds[panel.source]) + EVENTS_OF_A_DAY if panel.aggregation == "sum" else 0
            for i, panel in enumerate(panels)
        }
        return cls(exponents, Limbs(units, PANEL_REACH), bounds)

    def notes(self) -> dict[str, Any]:
        """What a later run must know."""
        return {"largest": dict(self.largest), "cut": self._cut()}

    def same_as(self, last: Mapping[str, Any]) -> bool:
        """Whether an earlier panel, of which these are the notes, was cut alike."""
        return bool(last) and last["cut"] == self._cut()

    def _cut(self) -> list[int]:
        return [self.limbs.bits * self.limbs.count, *(self.exponents[i] for i in sorted(self.exponents))]


def panel_sums(
    batches: Iterable[pa.RecordBatch], panels: Sequence[Panel], exponents: Mapping[int, int], limbs: Limbs
) -> Iterator[pa.RecordBatch]:
    """The sums of one partition's daily values, those of a `sum` divided by the panel's power of two."""
    rows = list(batches)
    table = pa.Table.from_batches(rows).combine_chunks() if rows else None
    if table is None or table.num_rows == 0:
        return
    arms, days = _sorted(table)
    for i, panel in enumerate(panels):
        mine = days.of(sources_of(panels).index(panel.source), panel.days)
        if len(mine.day) == 0:
            continue
        values = mine.values(panel.aggregation) * power_of_two(-exponents[i])
        if panel.aggregation == "sum" and np.abs(values).max() > 1:
            raise ValueError(f"a unit's day holds over 2^{EVENTS_OF_A_DAY} times the largest event: no exact sums")
        cut = limbs if panel.aggregation == "sum" else None
        yield _rows(i, _added(mine.arm * panel.days + mine.day + panel.days, values, cut, limbs), arms, panel.days)
        yield _rows(i, _pairs(mine, values, panel.days, cut, limbs), arms, panel.days, pairs=True)


def totals(rows: pa.Table, exponents: Mapping[int, int]) -> tuple[Sums, Products]:
    """The rows of all partitions added up, each rounded once and scaled back."""
    limbs: dict[tuple[int, str, date, int, int | None], Numbers] = {}
    keys = zip(*(rows[name].to_pylist() for name in PANEL_SUMS_SCHEMA.names[:-1]), strict=True)
    for key, pieces in zip(keys, rows["limbs"].to_pylist(), strict=True):
        limbs[key] = limbs[key] + np.array(pieces) if key in limbs else np.array(pieces)
    sums: Sums = {}
    products: Products = {}
    for (panel, variant, day, i, j), pieces in limbs.items():
        total = float(sum(pieces[1:].tolist(), start=float(pieces[0])))
        if j is None:
            sums[panel, variant, day, i] = total * power_of_two(exponents[panel])
        else:
            products[panel, variant, day, i, j] = total * power_of_two(2 * exponents[panel])
    return sums, products


@dataclass(frozen=True)
class Days:
    """Columns of unit × source × day, sorted by unit and day within a source."""

    source: Codes  # place in `sources_of`
    unit: Codes
    arm: Codes  # arm × cohort date, numbered
    day: Codes  # -1 is the last before assignment
    total: Numbers
    events: Numbers
    positive: Numbers  # 1 where any event is above 0

    def of(self, source: int, days: int) -> Days:
        """The rows of one source within some days of the assignment."""
        return self._taken(np.flatnonzero((self.source == source) & (self.day >= -days)))

    def values(self, aggregation: str) -> Numbers:
        """What the panel's metric makes of a day."""
        if aggregation == "sum":
            return self.total
        return self.events if aggregation == "count" else self.positive

    def ordered(self) -> Days:
        """Sorted by unit, then by day."""
        low = int(self.day.min())
        return self._taken(np.argsort(self.unit * (-low) + self.day - low, kind="stable"))

    def _taken(self, rows: Codes) -> Days:
        return Days(
            self.source[rows],
            self.unit[rows],
            self.arm[rows],
            self.day[rows],
            self.total[rows],
            self.events[rows],
            self.positive[rows],
        )


def _sorted(table: pa.Table) -> tuple[list[tuple[str, int]], Days]:
    variants = table["variant_id"].combine_chunks().dictionary_encode()
    names = variants.dictionary.to_pylist()
    dates = table["cohort_date"].cast(pa.int32()).to_numpy().astype(np.int64)
    distinct, arm = np.unique(dates * len(names) + variants.indices.to_numpy(), return_inverse=True)
    arms = [(names[int(code % len(names))], int(code // len(names))) for code in distinct]
    total, events, positive = (table[name].to_numpy().astype(float) for name in ("total", "events", "positive"))
    source, day = (table[name].to_numpy().astype(np.int64) for name in ("source", "day"))
    _, unit = np.unique(table["unit"].to_numpy(), return_inverse=True)
    return arms, Days(source, unit, arm, day, total, events, positive).ordered()


def _pairs(days: Days, values: Numbers, width: int, cut: Limbs | None, limbs: Limbs) -> tuple[Codes, Numbers]:
    """Products of each two days of the same unit, by arm and pair of days."""
    codes, products = [], []
    for apart in range(width):
        left, right = slice(0, len(values) - apart), slice(apart, None)
        both = np.flatnonzero(days.unit[left] == days.unit[right])
        if len(both) == 0:
            break
        first = days.arm[both] * width + days.day[both] + width
        codes.append(first * width + days.day[both + apart] + width)
        products.append(values[both] * values[both + apart])
    return _added(np.concatenate(codes), np.concatenate(products), cut, limbs)


def _added(codes: Codes, numbers: Numbers, cut: Limbs | None, limbs: Limbs) -> tuple[Codes, Numbers]:
    """The codes that occur, and the sum of each limb of their numbers, a row for each code."""
    present = np.flatnonzero(np.bincount(codes))
    pieces = [numbers] if cut is None else list(cut.cut(numbers))
    sums = [np.bincount(codes, piece)[present] for piece in pieces]
    nothing = np.zeros(len(present))
    return present, np.stack([*sums, *(nothing for _ in range(limbs.count - len(sums)))], axis=1)


def _rows(
    panel: int, added: tuple[Codes, Numbers], arms: list[tuple[str, int]], width: int, *, pairs: bool = False
) -> pa.RecordBatch:
    codes, sums = added
    second = codes % width - width if pairs else None
    codes = codes // width if pairs else codes
    first, arm = codes % width - width, codes // width
    chosen = [arms[i] for i in arm.tolist()]
    offsets = np.arange(len(codes) + 1, dtype=np.int32) * sums.shape[1]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([panel] * len(codes), pa.int32()),
            pa.array([variant for variant, _ in chosen], pa.string()),
            pa.array([day for _, day in chosen], pa.int32()).cast(pa.date32()),
            pa.array(first, pa.int32()),
            pa.nulls(len(codes), pa.int32()) if second is None else pa.array(second, pa.int32()),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(sums.ravel())),
        ],
        schema=PANEL_SUMS_SCHEMA,
    )
