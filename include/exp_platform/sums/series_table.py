"""Rows of gold.fct_experiment_metric_series: the changes of every day, from exact sums; no session needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product as pairs
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.metrics.families import Family
from exp_platform.sums.exact_sums import Numbers, in_parts
from exp_platform.sums.group_sums import ALL, NO_BUCKET, Totals, roll_up
from exp_platform.sums.series_plan import SeriesPlan, products_of
from exp_platform.sums.series_sums import COUNTS, SERIES_SCHEMA
from exp_platform.sums.statistics_table import as_table
from exp_platform.sums.unit_sums import padded

EPOCH = date(1970, 1, 1)
PARTS = 3  # doubles that say one sum exactly: the number in its column, and two more in `rest`
SCALARS = ("y", "yy", "yyy", "d", "dd", "yd")
ORDER = ("metric_name", "variant_id", "as_of")
QUANTILE_CAP = "quantile_cap"  # all days have the cap of the newest one, a run of an older day had its own
LARGE_VALUES = "values_of_2_32_or_more"  # these are added in order of size in J4, day by day in the series

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Changes:
    """Changes of one family by metric × arm × day: whole counts, and the exact parts of every sum."""

    family: Family
    counts: Codes  # rows × COUNTS
    parts: Numbers  # PARTS × rows × numbers, in the order of `numbers_of`

    @classmethod
    def of(cls, found: pa.Table, family: Family, plan: SeriesPlan) -> Changes:
        """From the rows of all partitions, for every metric, arm and day, with a change or without."""
        products, shape = products_of(family), (len(family.members), len(plan.variants), plan.span.days)
        mine = found.filter(pc.is_in(found["metric"], pa.array([i for i, _ in family.members], pa.int32())))
        cell = _cells(mine, family, plan)
        counts = np.zeros((int(np.prod(shape)), len(COUNTS)), dtype=np.int64)
        np.add.at(counts, cell, np.stack([mine[name].to_numpy() for name in COUNTS], axis=1).astype(np.int64))
        limbs = (
            padded(mine["limbs"].combine_chunks(), len(products)) if mine.num_rows else np.zeros((0, len(products), 1))
        )
        order = np.argsort(cell, kind="stable")
        turn = np.arange(len(order)) - np.searchsorted(cell[order], cell[order])  # of the cell's several partitions
        pieces = [
            np.zeros((len(counts), len(products))) for _ in range((int(turn.max(initial=0)) + 1) * limbs.shape[2])
        ]
        for k in range(limbs.shape[2]):
            for t in np.unique(turn):
                rows = order[turn == t]
                pieces[int(t) * limbs.shape[2] + k][cell[rows]] = limbs[rows, :, k]
        return cls(family, counts, _placed(_exact(pieces), family))

    @property
    def rows(self) -> int:
        """Number of metric × arm × day."""
        return len(self.counts)


def _placed(parts: Numbers, family: Family) -> Numbers:
    """Parts of products in the order of the row's numbers; those that the family lacks are 0."""
    place = {name: j for j, name in enumerate(products_of(family))}
    wider = np.concatenate([parts, np.zeros((*parts.shape[:2], 1))], axis=2)
    return np.ascontiguousarray(wider[:, :, [place.get(name, -1) for name in numbers_of(family)]])


def _exact(pieces: Sequence[Numbers]) -> Numbers:
    """The exact sums of several arrays, element by element, in parts."""
    shape = pieces[0].shape
    parts = in_parts([piece.ravel() for piece in pieces], PARTS)
    return np.stack([part.reshape(shape) for part in parts])


def numbers_of(family: Family) -> list[str]:
    """The product of each number of a row, column by column: scalars, x, xx, xy, dx, without_x."""
    x = family.x_letters
    square = [a + b if i <= j else b + a for (i, a), (j, b) in pairs(enumerate(x), enumerate(x))]
    return [*SCALARS, *x, *square, *(a + "y" for a in x), *(a + "d" for a in x), *without_x(family)]


def without_x(family: Family) -> list[str]:
    """Sums over units whose own covariate is missing: their values, and their named covariates; a ratio has none."""
    return [name for name in products_of(family) if name == "y_without_x" or name.startswith("z")]


def _cells(found: pa.Table, family: Family, plan: SeriesPlan) -> Codes:
    metric = pc.index_in(found["metric"], pa.array([i for i, _ in family.members], pa.int32()))
    arm = pc.index_in(found["variant_id"], pa.array(plan.variants, pa.string()))
    place, arm = (np.asarray(column.to_numpy(), dtype=np.int64) for column in (metric, arm))
    cell: Codes = (place * len(plan.variants) + arm) * plan.span.days + found["day"].to_numpy() - plan.span.first
    return cell


def series_rows(found: pa.Table, plan: SeriesPlan, experiment_id: str, schema: pa.Schema, *, far: bool) -> pa.Table:
    """Rows of every metric × arm × day from the sums of all partitions of `entries` and `changes`."""
    found = found.cast(SERIES_SCHEMA)
    tables = []
    for family in plan.families:
        days = np.arange(plan.span.first, plan.span.last + 1)
        keys = list(pairs(family.members, plan.variants, days.tolist()))
        tables.append(_rows(Changes.of(found, family, plan), keys, plan, experiment_id, schema, far=far))
    return in_order(tables, schema)


def next_rows(
    last: pa.Table, totals: dict[str, pa.Table], plan: SeriesPlan, experiment_id: str, schema: pa.Schema
) -> pa.Table:
    """The rows of the last day: the exact sums of today's statistics less all earlier changes.

    `last` are an earlier run's rows of the days before, `totals` J5's sums by family name as `family_key` has it.
    """
    tables = []
    for family in plan.families:
        keys = list(pairs(family.members, plan.variants, [plan.span.last]))
        tables.append(
            _rows(_difference(last, totals[family_key(family)], family, plan), keys, plan, experiment_id, schema)
        )
    return in_order(tables, schema)


def family_key(family: Family) -> str:
    """A name that no two families of an experiment share."""
    return " ".join((family.name, *family.covariates))


def totals_of(sums: pa.Table) -> pa.Table:
    """J5's sums of one family by metric × arm: all units, over all cohort dates."""
    everyone = (pc.field("unit_bucket") == NO_BUCKET) & (pc.field("segment") == ALL)
    return roll_up(sums.filter(everyone), ["metric", "variant_id"])


def _difference(last: pa.Table, totals: pa.Table, family: Family, plan: SeriesPlan) -> Changes:
    cells = [(i, metric.name, arm) for (i, metric), arm in pairs(family.members, plan.variants)]
    totals = totals.filter(pc.is_in(totals["metric"], pa.array([i for i, _ in family.members], pa.int32())))
    present = {
        key: row
        for row, key in enumerate(zip(totals["metric"].to_pylist(), totals["variant_id"].to_pylist(), strict=True))
    }
    rows = np.array([present.get((i, arm), totals.num_rows) for i, _, arm in cells])
    sums = Totals(totals, family, plan.scales, {})
    products = products_of(family)
    pieces: list[list[Numbers]] = [sums.pieces(name) for name in products]
    many = max(len(each) for each in pieces)
    now = np.zeros((many, totals.num_rows + 1, len(products)))  # the last row is that of an arm without units
    for j, each in enumerate(pieces):
        for k, piece in enumerate(each):
            now[k, :-1, j] = piece
    names = numbers_of(family)
    wide = [_placed(one[None, rows], family)[0] for one in now]
    before, counted = _before(last, cells, names)
    counts = np.zeros((len(cells), len(COUNTS)), dtype=np.int64)
    for j, columns in enumerate((("n", "n_null"), ("n",), ("n_mature",), ("n_x",), ("n_d",))):
        now_counted = sum(np.append(totals[name].to_numpy(), 0)[rows] for name in columns)
        counts[:, j] = now_counted - counted[:, j]
    return Changes(family, counts, _exact([*wide, *(-piece for piece in before)]))


def _before(last: pa.Table, cells: Sequence[tuple[int, str, str]], names: Sequence[str]) -> tuple[list[Numbers], Codes]:
    """The parts of every earlier day, an array of cells × numbers each, and the sums of the counts."""
    place = {(name, arm): j for j, (_, name, arm) in enumerate(cells)}
    mine = last.filter(pc.is_in(last["metric_name"], pa.array([name for _, name, _ in cells], pa.string())))
    cell = np.array(
        [
            place.get(key, -1)
            for key in zip(mine["metric_name"].to_pylist(), mine["variant_id"].to_pylist(), strict=True)
        ],
        dtype=np.int64,
    )
    day = mine["as_of"].cast(pa.int32()).to_numpy()
    days, turn = np.unique(day, return_inverse=True)
    parts = parts_of(mine, len(names))
    pieces = np.zeros((PARTS, len(days), len(cells), len(names)))
    pieces[:, turn, cell] = parts
    counted = np.zeros((len(cells), len(COUNTS)), dtype=np.int64)
    np.add.at(counted, cell, counts_of(mine))
    return list(pieces.reshape(-1, len(cells), len(names))), counted


def parts_of(rows: pa.Table, width: int) -> Numbers:
    """The exact parts of the numbers of some rows of one family: PARTS × rows × numbers."""
    head = [rows[name].to_numpy()[:, None] for name in SCALARS]
    lists = [rows[name].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1) for name in LISTS]
    first = np.concatenate([*head, *lists], axis=1)
    rest = rows["rest"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, width, PARTS - 1)
    return np.stack([first, *np.moveaxis(rest, 2, 0)])


def counts_of(rows: pa.Table) -> Codes:
    """The counts of some rows, in the order of COUNTS."""
    n, null = (rows[name].to_numpy() for name in ("n", "n_null"))
    carriers = rows["with_denominator"].fill_null(0).to_numpy()
    return np.stack([n + null, n, rows["n_mature"].to_numpy(), rows["n_x"].to_numpy(), carriers], axis=1)


LISTS = ("x", "xx", "xy", "dx", "without_x")


def _rows(
    changes: Changes, keys: Sequence[tuple[tuple[int, Metric], str, int]], plan: SeriesPlan, experiment_id: str,
    schema: pa.Schema, *, far: bool = False,
) -> pa.Table:  # fmt: skip
    family, k = changes.family, len(changes.family.x_letters)
    sizes = {"x": k, "xx": k * k, "xy": k, "dx": k, "without_x": len(without_x(family))}
    counts = dict(zip(COUNTS, changes.counts.T, strict=True))
    numbers = changes.parts[0]
    columns: dict[str, Any] = {
        "experiment_id": [experiment_id] * len(keys),
        "metric_name": [metric.name for (_, metric), _, _ in keys],
        "metric_version": [metric.version for (_, metric), _, _ in keys],
        "variant_id": [arm for _, arm, _ in keys],
        "as_of": [EPOCH + timedelta(days=day) for _, _, day in keys],
        "n": counts["n"],
        "n_null": counts["units"] - counts["n"],
        "n_mature": counts["n_mature"],
        "n_x": counts["n_x"],
        "with_denominator": counts["n_d"] if family.name == "ratio" else None,
        **{name: numbers[:, j] for j, name in enumerate(SCALARS)},
        "covariates": [list(family.covariates)] * len(keys),
        "rest": _lists(np.moveaxis(changes.parts[1:], 0, 2).reshape(len(keys), -1)),
        "cap": [plan.scales.cap(f"y{i}") for (i, _), _, _ in keys],
        "cap_denominator": [plan.scales.cap(f"y{i}_1") for (i, _), _, _ in keys],
        "differs": [differences(metric, far=far) for (_, metric), _, _ in keys],
    }
    first = len(SCALARS)
    for name, size in sizes.items():
        columns[name] = _lists(numbers[:, first : first + size])
        first += size
    return as_table({name: _array(column) for name, column in columns.items()}, schema)


def differences(metric: Metric, *, far: bool = False) -> list[str]:
    """Words for what may make the statistics of an earlier day differ from those that a run of that day published."""
    capped = metric.cap is not None and metric.cap.quantile is not None
    return [word for word, holds in ((QUANTILE_CAP, capped), (LARGE_VALUES, far)) if holds]


def in_order(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """All rows, sorted by their grain."""
    merged = pa.concat_tables([schema.empty_table(), *tables])
    return merged.sort_by([(name, "ascending") for name in ORDER])


def _array(column: Any) -> Any:
    return pa.array(column) if isinstance(column, np.ndarray) else column


def _lists(values: Numbers) -> pa.ListArray:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values).ravel()))
