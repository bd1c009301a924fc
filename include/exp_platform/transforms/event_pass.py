"""J5: one pass over the events, joined with their units once, for all tables that are made of events.

Each event goes to the kernels of NumPy once, with what its unit is and a flag for each window that it is in. There the
tables part: no event is grouped by Spark, and none is read, joined or shuffled a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial, reduce
from operator import or_

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.values import micros
from exp_platform.sums.event_columns import PACKED_SQL, Cell, EventColumns, EventKernel, run_kernels, unpacked
from exp_platform.transforms.excluded import touches
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.sql import quoted
from exp_platform.transforms.unit_outcomes import unit_bucket
from exp_platform.transforms.unit_partials import in_cell, seen_events, unit_windows
from exp_platform.transforms.windows import period_end

# What a kernel may ask to know of a unit, beside its assignment; an event carries no more than what one of them asks.
UNIT: dict[str, Callable[[], Column]] = {
    "user_id": lambda: F.col("user_id"),
    "unit": F.monotonically_increasing_id,  # only tells units apart: a number travels lighter than a name
    "variant_id": lambda: F.col("variant_id"),
    "cohort_date": lambda: F.col("cohort_date"),
    "unit_bucket": unit_bucket,
}


@dataclass(frozen=True)
class EventPart:
    """A table's part in the pass: which events and what of their units it needs, and its kernel."""

    cells: tuple[Cell, ...]  # the events that it counts
    unit: tuple[str, ...]  # columns of `UNIT`
    kernel: Callable[[EventColumns], EventKernel]
    schema: pa.Schema
    dimensions: tuple[str, ...] = ()  # of the units


@dataclass(frozen=True)
class EventPass:
    """The events and units of a pass, and how windows are cut."""

    cohort: DataFrame
    outcomes: DataFrame
    cutoff: datetime
    join: JoinHint = HASH
    far: bool = False  # True when a value is 2^32 or more
    excluded: Sequence[date] = ()  # dates whose outcomes can't be used

    def run(self, parts: Sequence[EventPart]) -> list[pa.Table]:
        """The rows of each part, made by one pass."""
        names = columns_of(parts)
        if not names.cells:
            return [part.schema.empty_table() for part in parts]
        kernels = [partial(part.kernel, names) for part in parts]
        packed = self.frame(parts).mapInArrow(_kernels(kernels, names, self.far), PACKED_SQL).toArrow()
        return unpacked(packed, [part.schema for part in parts])

    def frame(self, parts: Sequence[EventPart]) -> DataFrame:
        """One row per event in a cell of any part. A unit's rows are in one partition, as the join puts them there."""
        names, flags = columns_of(parts), {}
        asked = [name for name in UNIT if any(name in part.unit for part in parts if part.cells)]
        units = unit_windows(
            self.cohort,
            *(UNIT[name]().alias(name) for name in asked if name != "user_id"),
            *(F.col("dimensions")[name].alias(names.column(name)) for name in names.dimensions),
        )
        joined = events_of_units(units, seen_events(self.outcomes, names.sources, self.cutoff), self.join)
        for cell in names.cells:
            flags[names.flag(cell)] = self._inside(cell)
        cases = " ".join(f"when {quoted(name)} then {i}" for i, name in enumerate(names.sources))
        source = F.expr(f"case metric_name {cases} end").alias("source")
        return joined.where(reduce(or_, flags.values())).select(
            *asked,
            *map(names.column, names.dimensions),
            source,
            "event_us",
            "assignment_us",
            "value",
            *(flag.alias(name) for name, flag in flags.items()),
        )

    def _inside(self, cell: Cell) -> Column:
        here = in_cell(cell.source, cell.period)
        if cell.mature:
            here = here & (period_end(cell.period) <= F.lit(micros(self.cutoff)))
        return here & ~touches(cell.period, self.excluded) if cell.usable and self.excluded else here


def columns_of(parts: Sequence[EventPart]) -> EventColumns:
    """The cells, sources and dimensions of some parts, each once."""
    cells = tuple(dict.fromkeys(cell for part in parts for cell in part.cells))
    dimensions = tuple(sorted({name for part in parts if part.cells for name in part.dimensions}))
    return EventColumns(tuple(sorted({cell.source for cell in cells})), cells, dimensions)


def _kernels(
    kernels: Sequence[Callable[[], EventKernel]], names: EventColumns, far: bool
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function of its own, because Spark asks a mapped function for its name, and a frame can't go to a task."""

    def of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return run_kernels(batches, kernels, names, far)

    return of_partition
