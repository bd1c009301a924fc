"""Histograms of the events of event-level quantiles, in the groups of the statistics; no session needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from exp_platform.config.models import Metric
from exp_platform.stats.histogram import bin_of
from exp_platform.sums.event_columns import Cell, EventColumns
from exp_platform.sums.group_sums import GROUP
from exp_platform.sums.unit_bins import BinCounts
from exp_platform.sums.unit_groups import Groups
from exp_platform.sums.unit_sums import SUMS_SCHEMA

EVENT_BINS_SCHEMA = pa.schema(
    [SUMS_SCHEMA.field(name) for name in (*GROUP, "bins", "bin_units", "bin_lows", "bin_highs")]
)


@dataclass
class EventBins:
    """The kernel of histograms: each metric with its number and the events that count in it."""

    metrics: tuple[tuple[int, Metric, Cell], ...]
    names: EventColumns
    groups: Groups = field(default_factory=Groups)
    bins: dict[int, BinCounts] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the events of the metrics, at most as large as a fixed cap."""
        for i, metric, cell in self.metrics:
            columns = ["variant_id", "cohort_date", "unit_bucket", "value", *self.names.known]
            mine = self.names.taken(batch, [cell], columns)
            if not len(mine):
                continue
            order, cells = self.groups.of(mine, self.names.segments(mine))
            value = mine.column("value").to_numpy()[order]
            if metric.cap is not None and metric.cap.value is not None:
                value = np.minimum(value, metric.cap.value)
            values, groups = cells.spread(value)
            self.bins.setdefault(i, BinCounts()).add(groups, bin_of(values), values)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """One row for each metric × group."""
        keys = self.groups.keys
        for i, bins in self.bins.items():
            arm, segment, day, bucket = zip(*keys, strict=True)
            group = [pa.array([i] * len(keys), pa.int32()), pa.array(arm), pa.array(segment)]
            group += [pa.array(day, pa.int32()).cast(pa.date32()), pa.array(bucket, pa.int32())]
            yield pa.RecordBatch.from_arrays([*group, *bins.lists(len(keys))], schema=EVENT_BINS_SCHEMA)
