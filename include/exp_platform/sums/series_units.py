"""The units of a series: their arm, their days and their covariates, looked up by user from the files of unit rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyiceberg.io import FileIO

from exp_platform.config.models import Metric
from exp_platform.lake.batches import file_batches
from exp_platform.metrics.values import DAY_US, Period
from exp_platform.sums.exact_sums import Numbers
from exp_platform.sums.numbers import entries, named_covariates, numbers_of
from exp_platform.sums.series_plan import SeriesPlan

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class KnownUnits:
    """Units in some order: the place of their arm (-1: none that is live), their anchor and their covariates."""

    arm: Codes
    anchor: Codes  # microseconds since 1970
    numbers: Mapping[str, Numbers]  # covariates by column, NaN where one is missing
    first_day: int
    days: int

    @classmethod
    def of(cls, batch: pa.RecordBatch, plan: SeriesPlan) -> KnownUnits:
        """From rows of gold.fct_experiment_unit_outcomes."""
        arms = pc.index_in(batch.column("variant_id"), pa.array(plan.variants, pa.string()))
        anchor = batch.column("anchor_utc").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return cls(
            arms.fill_null(-1).to_numpy().astype(np.int64),
            anchor.to_numpy(),
            covariates(batch, plan.metrics),
            plan.span.first,
            plan.span.days,
        )

    @property
    def cohort_day(self) -> Codes:
        """The day of each unit's anchor, since 1970."""
        return self.anchor // DAY_US

    def turns(self, period: Period, metric: Metric) -> tuple[Codes, Codes, Codes]:
        """The days as of which a unit's window has opened, has closed, and the unit counts in the metric."""
        start, end = self.anchor + period.start_us, np.full(len(self.anchor), period.not_after_us or 0)
        if period.end_us is not None:
            end = self.anchor + period.end_us
            end = end if period.not_after_us is None else np.minimum(end, period.not_after_us)
        opens = np.maximum(start // DAY_US, self.cohort_day)
        closes = np.maximum(-(-end // DAY_US) - 1, self.cohort_day)
        return opens, closes, np.maximum(opens, closes) if metric.maturity_in_force == "complete" else opens

    def code(self, day: Codes) -> Codes:
        """Arm × day as a number, -1 for a day that the series does not have, or an arm that is not live."""
        inside = (self.arm >= 0) & (day >= self.first_day) & (day < self.first_day + self.days)
        return np.where(inside, self.arm * self.days + day - self.first_day, -1)

    def take(self, rows: Codes) -> KnownUnits:
        """A selection of the units, in the given order."""
        numbers = {name: column[rows] for name, column in self.numbers.items()}
        return KnownUnits(self.arm[rows], self.anchor[rows], numbers, self.first_day, self.days)

    @classmethod
    def together(cls, parts: Sequence[KnownUnits]) -> KnownUnits:
        """All parts, one after the other."""
        numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers}
        arm, anchor = (np.concatenate(columns) for columns in zip(*((p.arm, p.anchor) for p in parts), strict=True))
        return cls(arm, anchor, numbers, parts[0].first_day, parts[0].days)


def covariates(batch: pa.RecordBatch, metrics: Sequence[Metric]) -> dict[str, Numbers]:
    """The covariates of unit rows, a column for each number, NaN for null."""
    known, nothing = entries(batch.column("covariates")), np.full(len(batch), np.nan)
    numbers = [n for i, m in enumerate(metrics) for n in (*numbers_of(i, m), *named_covariates(i, m))]
    return {n.column: known.get(n.key, nothing) for n in numbers if n.source == "covariates"}


class UnitSource(Protocol):
    """Where a task finds the rows of its units."""

    def known(self, users: pa.StringArray, plan: SeriesPlan) -> KnownUnits:
        """The units of these users, in this order."""


@dataclass(frozen=True)
class FileUnits:
    """The files of unit rows by table bucket; a task opens those of the buckets that its users are in."""

    io: FileIO
    schema: pa.Schema
    files: Mapping[int, tuple[str, ...]]
    buckets: int

    def known(self, users: pa.StringArray, plan: SeriesPlan) -> KnownUnits:
        """The units of these users, in this order."""
        first = (mmh3.hash(users[0].as_py().encode()) & 0x7FFFFFFF) % self.buckets
        order = sorted(self.files, key=lambda bucket: (bucket != first, bucket))
        of_bucket = (self._batches(bucket) for bucket in order)
        return look_up(users, (batch for batches in of_bucket for batch in batches), plan)

    def _batches(self, bucket: int) -> Iterator[pa.RecordBatch]:
        for path in self.files[bucket]:
            yield from file_batches(self.io, path, self.schema)


@dataclass(frozen=True)
class TableUnits:
    """Unit rows in memory, for tables whose files hold rows of several experiments or have deletes."""

    rows: pa.Table

    def known(self, users: pa.StringArray, plan: SeriesPlan) -> KnownUnits:
        """The units of these users, in this order."""
        return look_up(users, self.rows.to_batches(), plan)


def look_up(users: pa.StringArray, batches: Iterable[pa.RecordBatch], plan: SeriesPlan) -> KnownUnits:
    """The units of these users among unit rows, which are read until all are found."""
    parts: list[KnownUnits] = []
    places: list[Codes] = []
    missing = len(users)
    for batch in batches:
        place = pc.index_in(batch.column("user_id"), users)
        rows = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
        parts.append(KnownUnits.of(batch.take(pa.array(rows)), plan))
        places.append(place.take(pa.array(rows)).to_numpy().astype(np.int64))
        missing -= len(rows)
        if not missing:
            break
    if missing:
        raise ValueError(
            f"{missing} of {len(users)} users with events have no unit row, although they are in the cohort"
        )
    order = np.argsort(np.concatenate(places))
    return KnownUnits.together(parts).take(order)
