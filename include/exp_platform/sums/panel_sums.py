"""Batches of daily values before assignment to exact sums and cross products; NumPy on columns, no session needed.

A row comes in for each unit × source × day with an event, all rows of a unit in the same partition. A row goes out for
each panel × arm × cohort date: the limbs of the sums of all days and of the products of all pairs of days. Where units
have a cluster, a row with its sums goes out for each of its cohort dates and panels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Aggregation
from exp_platform.sums.exact_sums import REACH, Limbs, Numbers
from exp_platform.sums.panels import Panel
from exp_platform.sums.scales import exponent_of, power_of_two

Codes = NDArray[np.int64]
Cell = tuple[str, int, str | None]  # arm, cohort date and cluster
ROWS = 100_000  # of a block, whose pairs of days are some times as many
# What the panel's metric makes of a day, in few bytes; a cast that does not fit is refused.
VALUES: dict[Aggregation, tuple[str, pa.DataType]] = {
    "sum": ("total", pa.float64()),
    "count": ("events", pa.int32()),
    "any": ("positive", pa.int8()),
}
# A day's sum is below 2^20 times its largest event, so its exponent is that generous; a product's is twice that, and 70
# bits are to remain.
EVENTS_OF_A_DAY = 20
PANEL_REACH = REACH + 2 * EVENTS_OF_A_DAY

Sums = dict[tuple[int, str, date, int], float]
Products = dict[tuple[int, str, date, int, int], float]
ClusterSums = dict[tuple[int, str, date, int], dict[str, float]]

PANEL_SUMS_SCHEMA = pa.schema(
    [
        ("panel", pa.int32()),
        ("variant_id", pa.string()),
        ("cohort_date", pa.date32()),
        ("cluster", pa.string()),  # null: all units of the arm
        ("days", pa.int32()),
        ("sums", pa.list_(pa.float64())),  # days × limbs, the earliest day first
        ("products", pa.list_(pa.float64())),  # day × later or same day × limbs; empty for a cluster
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
        """The facts about these sums that a later run compares before it reuses them."""
        return {"largest": dict(self.largest), "cut": self._cut()}

    def same_as(self, last: Mapping[str, Any]) -> bool:
        """True when an earlier panel, of which these are the notes, was cut alike."""
        return bool(last) and last["cut"] == self._cut()

    def _cut(self) -> list[int]:
        return [self.limbs.bits * self.limbs.count, *(self.exponents[i] for i in sorted(self.exponents))]


def panel_sums(
    batches: Iterable[pa.RecordBatch],
    known: Mapping[Cell, int],
    panels: Sequence[Panel],
    exponents: Mapping[int, int],
    limbs: Limbs,
) -> Iterator[pa.RecordBatch]:
    """The sums of one partition's daily values, those of a `sum` divided by the panel's power of two.

    The column `cell` holds numbers of `known`, which is complete once all batches have been taken.
    """
    held = [UnitDays.of(panels, number) for number in range(len(sources_of(panels)))]
    for batch in batches:
        for source in held:
            source.add(batch)
    cells = Cells.of(known)
    while held:
        source = held.pop(0)  # and let go when it is done
        sums = {i: Added(len(known) * panel.days, limbs) for i, panel in source.panels.items()}
        products = {i: Added(len(cells.arms) * panel.days**2, limbs) for i, panel in source.panels.items()}
        for days in source.blocks(max(ROWS, len(cells.arms) * source.days**2)):
            for i, panel in source.panels.items():
                mine = days.within(panel.days)
                values = mine.values[panel.aggregation] * power_of_two(-exponents[i])
                if panel.aggregation == "sum" and np.abs(values).max(initial=0) > 1:
                    raise ValueError(
                        f"a unit's day holds over 2^{EVENTS_OF_A_DAY} times the largest event: no exact sums"
                    )
                cut = limbs if panel.aggregation == "sum" else None
                sums[i].add(mine.cell * panel.days + mine.day + panel.days, values, cut)
                products[i].add(*_pairs(mine, cells.arm_of, values, panel.days), cut)
        for i, panel in source.panels.items():
            if sums[i].seen.any():
                yield _rows(i, panel.days, cells.arms, sums[i].by(cells.arm_of, panel.days), products[i])
                if cells.clusters:
                    yield _rows(i, panel.days, cells.clustered, sums[i].of(cells.clusters, panel.days))


def totals(rows: pa.Table, exponents: Mapping[int, int]) -> tuple[Sums, Products, ClusterSums]:
    """The rows of all partitions added up, each rounded once and scaled back; those of clusters by cluster.

    A sum that is 0 is left out. Limbs are exact, so that it does not matter in which order they are added up.
    """
    sums: Sums = {}
    products: Products = {}
    clusters: ClusterSums = {}
    for panel in pc.unique(rows["panel"]).to_pylist():
        mine = rows.filter(pc.field("panel") == panel)
        days, scale = mine["days"][0].as_py(), power_of_two(exponents[panel])
        keys, places = _distinct(mine)
        of_days = _added(mine["sums"], places, len(keys), days) * scale
        arms = [k for k, (_, _, cluster) in enumerate(keys) if cluster is None]
        in_arms = pc.is_null(mine["cluster"]).to_numpy()
        of_pairs = _added(mine["products"].filter(pa.array(in_arms)), places[in_arms], len(keys), days**2)
        of_pairs = of_pairs * power_of_two(2 * exponents[panel])
        for k, day in zip(*(part.tolist() for part in np.nonzero(of_days)), strict=True):
            variant, date_, cluster = keys[k]
            key, total = (panel, variant, date_, day - days), float(of_days[k, day])
            if cluster is None:
                sums[key] = total
            else:
                clusters.setdefault(key, {})[cluster] = total
        for k in arms:
            for pair in np.flatnonzero(of_pairs[k]).tolist():
                i, j = divmod(pair, days)
                products[panel, *keys[k][:2], i - days, j - days] = float(of_pairs[k, pair])
    return sums, products, clusters


def _distinct(rows: pa.Table) -> tuple[list[tuple[str, date, str | None]], Codes]:
    """The arms, dates and clusters of some rows, each once, and the place of each row's."""
    places: dict[tuple[str, date, str | None], int] = {}
    keys = zip(*(rows[name].to_pylist() for name in ("variant_id", "cohort_date", "cluster")), strict=True)
    found = [places.setdefault(key, len(places)) for key in keys]
    return list(places), np.array(found, dtype=np.int64)


def _added(lists: pa.ChunkedArray, places: Codes, count: int, width: int) -> Numbers:
    """The lists of limbs added up by place, and rounded from the first limb on: places × width."""
    limbs = lists.combine_chunks().flatten().to_numpy().reshape(len(places), width, -1)
    order = np.argsort(places, kind="stable")
    distinct, starts = np.unique(places[order], return_index=True)
    added = np.add.reduceat(limbs[order], starts, axis=0)
    total = np.zeros((count, width))
    for k in range(added.shape[2]):
        total[distinct] += added[:, :, k]
    return total


@dataclass(frozen=True)
class Cells:
    """Arms and clusters on each cohort date, as they are numbered."""

    arms: list[Cell]  # without their clusters
    arm_of: Codes  # the arm of each cell
    clusters: list[int]  # the cells that have a cluster
    clustered: list[Cell]  # these

    @classmethod
    def of(cls, known: Mapping[Cell, int]) -> Cells:
        """From the cells in the order of their numbers."""
        arms: dict[Cell, int] = {}
        arm_of = [arms.setdefault((variant, day, None), len(arms)) for variant, day, _ in known]
        clusters = [i for i, (_, _, cluster) in enumerate(known) if cluster is not None]
        names = list(known)
        return cls(list(arms), np.array(arm_of, dtype=np.int64), clusters, [names[i] for i in clusters])


@dataclass(frozen=True)
class Days:
    """The daily values of a batch of whole units; the days of one unit stand together, in order."""

    unit: Codes
    cell: Codes  # arm × cohort date × cluster, numbered
    day: Codes  # -1 is the last before assignment
    values: dict[Aggregation, NDArray[Any]]

    def within(self, days: int) -> Days:
        """Those within some days of the assignment."""
        rows = np.flatnonzero(self.day >= -days)
        values = {name: column[rows] for name, column in self.values.items()}
        return Days(self.unit[rows], self.cell[rows], self.day[rows], values)


@dataclass
class UnitDays:
    """The rows of one source, in as few bytes as hold them: a task has many millions."""

    number: int  # place in `sources_of`
    panels: dict[int, Panel]
    keys: list[Codes] = field(default_factory=list)  # unit and day in one, which sort by both
    cells: list[NDArray[np.int32]] = field(default_factory=list)
    values: dict[Aggregation, list[NDArray[Any]]] = field(default_factory=dict)  # only those that a panel asks for

    @classmethod
    def of(cls, panels: Sequence[Panel], number: int) -> UnitDays:
        """Start without rows, for the panels that read one source."""
        name = sources_of(panels)[number]
        mine = {i: panel for i, panel in enumerate(panels) if panel.source == name}
        return cls(number, mine, values={panel.aggregation: [] for panel in mine.values()})

    @property
    def days(self) -> int:
        """The number of days of the longest panel."""
        return max(panel.days for panel in self.panels.values())

    @property
    def bits(self) -> int:
        """Those of a key that hold the day; Spark numbers units below 2^53, up to a million partitions."""
        return self.days.bit_length()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take over what is needed of a batch."""
        day = batch.column("day").to_numpy().astype(np.int64) + self.days
        rows = np.flatnonzero((batch.column("source").to_numpy() == self.number) & (day >= 0))
        self.keys.append((batch.column("unit").to_numpy()[rows] << self.bits) + day[rows])
        self.cells.append(batch.column("cell").to_numpy()[rows])
        for aggregation, columns in self.values.items():
            name, kind = VALUES[aggregation]
            columns.append(batch.column(name).cast(kind).to_numpy()[rows])

    def blocks(self, rows: int) -> Iterator[Days]:
        """All of them in blocks of about so many rows."""
        keys, cells = _joined(self.keys), _joined(self.cells)
        values = {name: _joined(columns) for name, columns in self.values.items()}
        order = np.argsort(keys)
        first = 0
        while first < len(order):
            last = min(first + rows, len(order))
            following = keys[order[last : last + self.days]] >> self.bits
            last += int(np.count_nonzero(following == keys[order[last - 1]] >> self.bits))
            chosen = order[first:last]
            unit, day = np.divmod(keys[chosen], 1 << self.bits)
            mine = {name: column[chosen] for name, column in values.items()}
            yield Days(unit, cells[chosen].astype(np.int64), day - self.days, mine)
            first = last


class Added:
    """Sums of limbs by code, and the codes that occur."""

    def __init__(self, codes: int, limbs: Limbs) -> None:
        self.limbs = limbs
        self.seen = np.zeros(codes, dtype=bool)
        self.sums = np.zeros((codes, limbs.count))

    def add(self, codes: Codes, numbers: Numbers, cut: Limbs | None) -> None:
        """Add numbers to their codes' sums, cut into limbs where they have to stay exact."""
        present = np.flatnonzero(np.bincount(codes))
        self.seen[present] = True
        for k, piece in enumerate([numbers] if cut is None else cut.cut(numbers)):
            self.sums[present, k] += np.bincount(codes, piece)[present]

    def by(self, group_of: Codes, width: int) -> Added:
        """Codes of so many days each, added up by group; limbs are exact, so in any order."""
        groups = int(group_of.max(initial=-1)) + 1
        total = Added(groups * width, self.limbs)
        codes = (group_of[:, None] * width + np.arange(width)).ravel()
        total.seen = np.bincount(codes, self.seen, minlength=groups * width) > 0
        np.add.at(total.sums, codes, self.sums)
        return total

    def of(self, chosen: list[int], width: int) -> Added:
        """Pick the chosen groups, `width` days each."""
        some = Added(0, self.limbs)
        codes = (np.array(chosen)[:, None] * width + np.arange(width)).ravel()
        some.seen, some.sums = self.seen[codes], self.sums[codes]
        return some


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """All parts in one, of which none is kept."""
    whole = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    parts.clear()
    return whole


def numbered(batch: pa.RecordBatch, known: dict[Cell, int], cluster: str | None = None) -> NDArray[np.int32]:
    """The number of each row's arm, cohort date and cluster (a column's name); new ones are added."""
    variants = batch.column("variant_id").dictionary_encode()
    names = variants.dictionary.to_pylist()
    dates = batch.column("cohort_date").cast(pa.int32()).to_numpy().astype(np.int64)
    first = int(dates.min()) if len(dates) else 0
    codes = (dates - first) * len(names) + variants.indices.to_numpy()
    clusters: list[str | None] = [None]
    if cluster is not None:
        values = batch.column(cluster).dictionary_encode()
        clusters = [None, *values.dictionary.to_pylist()]
        codes = codes * len(clusters) + (values.indices.fill_null(-1).to_numpy() + 1)
    number_of = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int32)
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        rest, place = divmod(code, len(clusters))
        cell = (names[rest % len(names)], first + rest // len(names), clusters[place])
        number_of[code] = known.setdefault(cell, len(known))
    return np.asarray(number_of[codes])


def _pairs(days: Days, arm_of: Codes, values: Numbers, width: int) -> tuple[Codes, Numbers]:
    """Products of each two days of the same unit, by arm and pair of days."""
    arm = arm_of[days.cell]
    codes, products = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for apart in range(width):
        left, right = slice(0, len(values) - apart), slice(apart, None)
        both = np.flatnonzero(days.unit[left] == days.unit[right])
        if len(both) == 0:
            break
        first = arm[both] * width + days.day[both] + width
        codes.append(first * width + days.day[both + apart] + width)
        products.append(values[both] * values[both + apart])
    return np.concatenate(codes), np.concatenate(products)


def _rows(panel: int, days: int, cells: list[Cell], sums: Added, products: Added | None = None) -> pa.RecordBatch:
    """One row for each cell with any value."""
    seen = np.flatnonzero(sums.seen.reshape(len(cells), days).any(axis=1))
    chosen = [cells[i] for i in seen.tolist()]
    none = pa.array([[]] * len(chosen), pa.list_(pa.float64()))
    return pa.RecordBatch.from_arrays(
        [
            pa.array([panel] * len(chosen), pa.int32()),
            pa.array([variant for variant, _, _ in chosen], pa.string()),
            pa.array([day for _, day, _ in chosen], pa.int32()).cast(pa.date32()),
            pa.array([cluster for _, _, cluster in chosen], pa.string()),
            pa.array([days] * len(chosen), pa.int32()),
            _lists(sums, len(cells), seen),
            none if products is None else _lists(products, len(cells), seen),
        ],
        schema=PANEL_SUMS_SCHEMA,
    )


def _lists(added: Added, cells: int, chosen: Codes) -> pa.ListArray:
    """The limbs of some cells, a list for each cell."""
    limbs = added.sums.reshape(cells, -1)[chosen]
    offsets = pa.array(np.arange(len(limbs) + 1, dtype=np.int32) * limbs.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(limbs.ravel()))
