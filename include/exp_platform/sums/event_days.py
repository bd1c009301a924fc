"""Events of one partition added up by unit × source × day, batch by batch; NumPy on columns, no session needed.

A user has few events on a day, so that adding them up in Spark, by the user's name and with a column for each window,
costs more than handing them over as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.metrics.values import DAY_US
from exp_platform.sums.event_columns import cut_in_two, is_far
from exp_platform.sums.exact_sums import Numbers

Codes = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]
ROWS = 250_000  # events that may wait to be added up, at least
DAY_BITS, UNIT_BITS = 20, 32  # of a key: source, unit and day in one number
NEVER = np.iinfo(np.int64).min


@dataclass
class EventDays:
    """The events so far: those that were added up, by key in ascending order, and those that wait."""

    kinds: tuple[str, ...]  # kinds of columns beside `n`: hi, lo, positive, max, last, far
    width: int  # windows, of which each has a column of every kind
    first: int  # the first day, since 1970; earlier events count on it
    users: pa.StringArray = field(default_factory=lambda: pa.array([], pa.string()))
    key: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    columns: Columns = field(default_factory=dict)
    waiting: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take events: user_id, source, event_us, value, and `f<j>`, true inside window j."""
        if len(batch):
            self.waiting.append(batch)
        # Adding up sorts everything anew, so it waits until there is as much again; far values need all at once.
        if sum(map(len, self.waiting)) > max(ROWS, len(self.key)) and "far" not in self.kinds:
            self.add_up()

    @property
    def parts(self) -> tuple[Codes, Codes, Codes]:
        """Source, unit (the place in `users`) and day (0 is the first) of each row."""
        unit = (self.key >> DAY_BITS) & ((1 << UNIT_BITS) - 1)
        return self.key >> (DAY_BITS + UNIT_BITS), unit, self.key & ((1 << DAY_BITS) - 1)

    def add_up(self) -> None:
        """Add up the events that wait with the rows so far."""
        if not self.waiting:
            return
        events = pa.Table.from_batches(self.waiting)
        self.waiting.clear()
        names = pa.concat_arrays([self.users, *events["user_id"].chunks]).dictionary_encode()
        unit = names.indices.to_numpy().astype(np.int64)[len(self.users) :]
        source, time, value = (events[name].to_numpy() for name in ("source", "event_us", "value"))
        day = np.maximum(time // DAY_US - self.first, 0)
        fresh = (source.astype(np.int64) << (DAY_BITS + UNIT_BITS)) | (unit << DAY_BITS) | day
        new = event_columns(self.kinds, time, value, [events[f"f{j}"].to_numpy() for j in range(self.width)])
        known = self.columns or {name: column[:0] for name, column in new.items()}
        joined = {name: np.concatenate([known[name], column]) for name, column in new.items()}
        self.users, (self.key, self.columns) = names.dictionary, added_up(np.concatenate([self.key, fresh]), joined)


def event_columns(kinds: tuple[str, ...], time: Codes, value: Numbers, flags: list[NDArray[np.bool_]]) -> Columns:
    """The columns of single events, of which each adds nothing to a window that it is not in."""
    cut = dict(zip(("hi", "lo"), cut_in_two(value), strict=True)) if "hi" in kinds else {}
    found: Columns = {}
    for j, here in enumerate(flags):
        found[f"n{j}"] = here.astype(np.int64)
        for kind in kinds:
            if kind in cut:
                found[f"{kind}{j}"] = np.where(here, cut[kind], 0)
            elif kind == "positive":
                found[f"positive{j}"] = (here & (value > 0)).astype(np.int64)
            elif kind == "max":
                found[f"max{j}"] = np.where(here, value, -np.inf)
            elif kind == "far":
                found[f"far{j}"] = np.where(here & is_far(value), value, 0.0)
            else:
                found[f"last{j}"], found[f"last_us{j}"] = np.where(here, value, 0.0), np.where(here, time, NEVER)
    return found


def added_up(key: Codes, columns: Columns) -> tuple[Codes, Columns]:
    """One row for each key, in ascending order."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(key) else np.zeros(0, dtype=np.int64)
    found: Columns = {}
    for name, column in columns.items():
        if name.startswith("last_us"):
            continue  # comes with its value
        if name.startswith("last"):
            time = columns[name.replace("last", "last_us")]
            ends = np.lexsort((column, time, key))[np.append(starts[1:], len(key)) - 1]
            found[name], found[name.replace("last", "last_us")] = column[ends], time[ends]
        elif name.startswith("far"):
            found[name] = _by_size(starts, column[order])
        elif name.startswith(("max", "arm")):
            found[name] = np.maximum.reduceat(column[order], starts)
        else:
            found[name] = np.add.reduceat(column[order], starts)
    return ordered[starts], found


def _by_size(starts: Codes, column: Numbers) -> Numbers:
    """The sum of each key's far values, the smallest first, as J4 adds them up."""
    far = np.flatnonzero(column)
    place = np.searchsorted(starts, far, side="right") - 1
    total = np.zeros(len(starts))
    for row in np.lexsort((column[far], place)).tolist():
        total[place[row]] += column[far[row]]
    return total
