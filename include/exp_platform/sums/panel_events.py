"""Events before the assignment, added up to the daily values of units, of which panels are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.metrics.values import DAY_US, Period
from exp_platform.sums.event_columns import Cell, EventColumns, put_together
from exp_platform.sums.event_days import ROWS, Codes, Columns, added_up, event_columns
from exp_platform.sums.panel_sums import Cell as Arm
from exp_platform.sums.panel_sums import PanelCut, numbered, panel_sums, sources_of
from exp_platform.sums.panels import Panel

BATCH = 50_000  # daily values that are handed on together
COLUMNS = ("unit", "variant_id", "cohort_date", "event_us", "assignment_us", "source", "value")
KINDS = {"sum": ("hi", "lo"), "count": (), "any": ("positive",)}


def panel_cells(panels: tuple[Panel, ...]) -> tuple[Cell, ...]:
    """The events of each source on the days of the longest panel."""
    before = Period("covariate", start_us=max(panel.days for panel in panels) * DAY_US)
    return tuple(Cell(source, before) for source in sources_of(panels))


@dataclass
class SourceDays:
    """The events of one source, added up by unit × relative day, in as few bytes as hold them."""

    kinds: tuple[str, ...]
    key: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    columns: Columns = field(default_factory=dict)
    waiting: list[tuple[Codes, Columns]] = field(default_factory=list)

    def add(self, key: Codes, arm: NDArray[np.int32], value: NDArray[np.float64]) -> None:
        """Take events; they are added up when there are as many again, but far values all at once."""
        everywhere = [np.ones(len(key), dtype=bool)]
        found = event_columns(self.kinds, np.zeros(0, dtype=np.int64), value, everywhere)
        self.waiting.append((key, {"arm": arm} | found))
        if sum(len(keys) for keys, _ in self.waiting) > max(ROWS, len(self.key)) and "far" not in self.kinds:
            self.add_up()

    def add_up(self) -> None:
        """Add up the events that wait with the rows so far."""
        parts = [(self.key, self.columns)] * bool(len(self.key)) + self.waiting
        if self.waiting:
            joined = {name: np.concatenate([columns[name] for _, columns in parts]) for name in parts[0][1]}
            self.key, self.columns = added_up(np.concatenate([key for key, _ in parts]), joined)
            self.waiting.clear()


@dataclass
class PanelDays:
    """The kernel of panels: events of all sources before the assignment, by source."""

    panels: tuple[Panel, ...]
    cut: PanelCut
    names: EventColumns
    far: bool = False
    cluster: str | None = None  # dimension by whose values sums are kept, too
    arms: dict[Arm, int] = field(default_factory=dict)
    held: list[SourceDays] = field(init=False)

    def __post_init__(self) -> None:
        asked = [{p.aggregation for p in self.panels if p.source == source} for source in sources_of(self.panels)]
        more = ("far",) if self.far else ()
        kinds = [tuple(kind for name in sorted(own) for kind in KINDS[name]) for own in asked]
        self.held = [SourceDays((*own, *(more if "hi" in own else ()))) for own in kinds]

    @property
    def bits(self) -> int:
        """Those of a key that hold the day; Spark numbers units below 2^53, up to a million partitions."""
        return max(panel.days for panel in self.panels).bit_length()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the events that are in a panel."""
        cells = panel_cells(self.panels)
        cluster = self.names.column(self.cluster) if self.cluster else None
        mine = self.names.taken(batch, cells, [*COLUMNS, *([cluster] if cluster else [])])
        if not len(mine):
            return
        arm = numbered(mine, self.arms, cluster)
        unit, time, assigned, source, value = (
            mine.column(name).to_numpy() for name in ("unit", "event_us", "assignment_us", "source", "value")
        )
        before = (time - assigned) // DAY_US + (1 << self.bits)
        for held, cell in zip(self.held, cells, strict=True):
            rows = np.flatnonzero(source == self.names.sources.index(cell.source))
            held.add((unit[rows] << self.bits) + before[rows], arm[rows], value[rows])

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The sums of the partition's daily values."""
        yield from panel_sums(self._days(), self.arms, self.panels, self.cut.exponents, self.cut.limbs)

    def _days(self) -> Iterator[pa.RecordBatch]:
        """One row per unit × source × relative day; each source is let go of when it has been handed on."""
        number = 0
        while self.held:
            source = self.held.pop(0)
            source.add_up()
            for first in range(0, len(source.key), BATCH):
                yield self._batch(source, slice(first, first + BATCH), number)
            number += 1

    def _batch(self, source: SourceDays, rows: slice, number: int) -> pa.RecordBatch:
        columns = {name: column[rows] for name, column in source.columns.items()}
        unit, day = np.divmod(source.key[rows], 1 << self.bits)
        count = len(unit)
        total = put_together(columns["hi0"], columns["lo0"]) if "hi0" in columns else np.zeros(count)
        if "far0" in columns:
            total = total + columns["far0"]
        found = {
            "unit": pa.array(unit),
            "cell": pa.array(columns["arm"]),
            "source": pa.array(np.full(count, number)),
            "day": pa.array((day - (1 << self.bits)).astype(np.int32)),
            "total": pa.array(total),
            "events": pa.array(columns["n0"]),
            "positive": pa.array((columns.get("positive0", np.zeros(count)) > 0).astype(np.int8)),
        }
        return pa.RecordBatch.from_pydict(found)
