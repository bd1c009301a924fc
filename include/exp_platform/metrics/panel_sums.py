"""Batches of daily values before assignment to exact sums and cross products; NumPy on columns, no session needed.

A row comes in for each unit × panel × day with a value, all rows of a unit in the same partition. A row goes out for
each panel × arm × cohort date × pair of days: the limbs of the sum of products, and, with day_j null, of the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.metrics.exact_sums import Limbs, Numbers
from exp_platform.metrics.scales import power_of_two

Codes = NDArray[np.int64]
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


@dataclass(frozen=True)
class DailyValues:
    """Daily values as columns, sorted by panel, unit and day."""

    panel: Codes
    day: Codes
    arm: Codes  # arm × cohort date, numbered
    value: Numbers  # within ±1
    same: Codes  # equal for rows of the same panel and unit


def panel_sums(
    batches: Iterable[pa.RecordBatch], exponents: Mapping[int, int], limbs: Limbs
) -> Iterator[pa.RecordBatch]:
    """The sums of one partition's daily values, divided by each panel's power of two."""
    table = pa.Table.from_batches(list(batches)) if (batches := list(batches)) else None
    if table is None or table.num_rows == 0:
        return
    arms, daily = _sorted(table, exponents)
    low, days = int(daily.day.min()), int(daily.day.max() - daily.day.min()) + 1
    place = (daily.panel * len(arms) + daily.arm) * days + (daily.day - low)
    yield _rows(_added(place, daily.value, limbs), arms, days, low, pairs=False)
    codes, products = [], []
    for apart in range(days):
        left, right = slice(0, len(place) - apart or None), slice(apart, None)
        both = daily.same[left] == daily.same[right]
        if not both.any():
            break
        codes.append((place[left][both] * days) + (daily.day[right][both] - low))
        products.append(daily.value[left][both] * daily.value[right][both])
    yield _rows(_added(np.concatenate(codes), np.concatenate(products), limbs), arms, days, low, pairs=True)


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


def _sorted(table: pa.Table, exponents: Mapping[int, int]) -> tuple[list[tuple[str, int]], DailyValues]:
    table = table.combine_chunks()
    panel = table["panel"].to_numpy().astype(np.int64)
    day = table["day"].to_numpy().astype(np.int64)
    user = table["user_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    variants = table["variant_id"].combine_chunks().dictionary_encode()
    names = variants.dictionary.to_pylist()
    dates = table["cohort_date"].cast(pa.int32()).to_numpy().astype(np.int64)
    distinct, arm = np.unique(dates * len(names) + variants.indices.to_numpy(), return_inverse=True)
    arms = [(names[int(code % len(names))], int(code // len(names))) for code in distinct]
    same = panel * (int(user.max()) + 1) + user
    order = np.lexsort((day, same))
    scale = np.array([power_of_two(-exponents.get(k, 0)) for k in range(int(panel.max()) + 1)])
    value = table["value"].to_numpy() * scale[panel]
    return arms, DailyValues(panel[order], day[order], arm[order], value[order], same[order])


def _added(codes: Codes, numbers: Numbers, limbs: Limbs) -> tuple[Codes, Numbers]:
    """The codes that occur, and the sum of each limb of their numbers, a row for each code."""
    distinct, inverse = np.unique(codes, return_inverse=True)
    return distinct, np.stack([np.bincount(inverse, limb, len(distinct)) for limb in limbs.cut(numbers)], axis=1)


def _rows(
    added: tuple[Codes, Numbers], arms: list[tuple[str, int]], days: int, low: int, *, pairs: bool
) -> pa.RecordBatch:
    codes, sums = added
    second = codes % days + low if pairs else None
    codes = codes // days if pairs else codes
    first, group = codes % days + low, codes // days
    chosen = [arms[i] for i in (group % len(arms)).tolist()]
    width = sums.shape[1]
    offsets = np.arange(len(codes) + 1, dtype=np.int32) * width
    return pa.RecordBatch.from_arrays(
        [
            pa.array(group // len(arms), pa.int32()),
            pa.array([variant for variant, _ in chosen], pa.string()),
            pa.array([day for _, day in chosen], pa.int32()).cast(pa.date32()),
            pa.array(first, pa.int32()),
            pa.nulls(len(codes), pa.int32()) if second is None else pa.array(second, pa.int32()),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(sums.ravel())),
        ],
        schema=PANEL_SUMS_SCHEMA,
    )
