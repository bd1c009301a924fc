"""Histograms of many groups: put together in NumPy, and laid out as columns of the statistics table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.stats.histogram import Bins, coded, decoded
from exp_platform.sums.group_sums import GROUP

Key = tuple[Any, ...]  # a group, as metric, arm, segment, cohort date and bucket


@dataclass(frozen=True, eq=False)
class Histograms:
    """Bins by group; a code of `bins` holds the place of its group in `groups`."""

    groups: tuple[Key, ...]
    bins: Bins

    @classmethod
    def of_lists(cls, keys: Sequence[Key], columns: Sequence[pa.ListArray]) -> Histograms:
        """From lists of bins, counts, smallest and largest values, one of each for a key; keys may repeat."""
        numbers: dict[Key, int] = {}
        number = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
        sizes = columns[0].value_lengths().fill_null(0).to_numpy()
        bins, *rest = (column.flatten().to_numpy() for column in columns)
        count, low, high = (column.astype(float) for column in rest)
        return cls(tuple(numbers), Bins.merged([Bins(coded(np.repeat(number, sizes), bins), count, low, high)]))

    @classmethod
    def of_sums(cls, sums: pa.Table) -> Histograms:
        """From sums of unit rows or bins of events, whose partitions each have lists of their own."""
        whole = sums.combine_chunks()
        keys = list(zip(*(whole[name].to_pylist() for name in GROUP), strict=True))
        names = ("bins", "bin_units", "bin_lows", "bin_highs")
        return cls.of_lists(keys, [whole[name].combine_chunks() for name in names])

    @classmethod
    def merged(cls, parts: Sequence[Histograms]) -> Histograms:
        """All parts in one, bin by bin."""
        numbers: dict[Key, int] = {}
        bins = []
        for part in parts:
            number = np.array([numbers.setdefault(key, len(numbers)) for key in part.groups], dtype=np.int64)
            group, key = decoded(part.bins.code)
            moved = coded(number[group] if len(group) else group, key)
            bins.append(Bins(moved, part.bins.count, part.bins.low, part.bins.high))
        return cls(tuple(numbers), Bins.merged(bins))

    def columns(self, keys: Sequence[Key]) -> dict[str, pa.Array]:
        """For each key the map of bin to count and, in the order of the bins, their extremes; null for no histogram."""
        number = {key: i for i, key in enumerate(self.groups)}
        group, bins = decoded(self.bins.code)
        ends = np.searchsorted(group, np.arange(len(self.groups) + 1))
        wanted = np.array([number.get(key, -1) for key in keys], dtype=np.int64)
        sizes = np.append(np.diff(ends), 0)[wanted]  # the place -1 is that of no histogram
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.repeat(np.append(ends[:-1], 0)[wanted] - offsets[:-1], sizes) + np.arange(offsets[-1])
        nowhere = pa.array(sizes == 0)
        places = pa.array(offsets.astype(np.int32))
        counts = pa.array(self.bins.count[rows].astype(np.int64))
        return {
            "histogram": pa.MapArray.from_arrays(places, pa.array(bins[rows].astype(np.int32)), counts, mask=nowhere),
            **{
                f"histogram_{name}s": pa.ListArray.from_arrays(places, pa.array(values[rows]), mask=nowhere)
                for name, values in (("low", self.bins.low), ("high", self.bins.high))
            },
        }


def bins_of(histogram: pa.ChunkedArray, lows: pa.ChunkedArray, highs: pa.ChunkedArray) -> list[pa.ListArray]:
    """Lists of bins, counts and extremes from columns of the statistics, where extremes stand in the order of bins."""
    maps = histogram.combine_chunks()
    offsets = pa.array(np.concatenate([[0], np.cumsum(_sizes(maps))]).astype(np.int32))
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    keys, counts = (part.slice(first, last - first).to_numpy() for part in (maps.keys, maps.items))
    order = np.lexsort((keys, np.repeat(np.arange(len(maps)), _sizes(maps))))
    lists = [pa.ListArray.from_arrays(offsets, pa.array(column[order])) for column in (keys, counts)]
    return [*lists, *(column.combine_chunks() for column in (lows, highs))]


def _sizes(maps: pa.MapArray) -> NDArray[np.int64]:
    return np.where(maps.is_valid().to_numpy(zero_copy_only=False), np.diff(maps.offsets.to_numpy()), 0)
