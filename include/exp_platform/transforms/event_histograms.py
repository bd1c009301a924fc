"""J5: histograms of event-level quantile metrics, as a part of the pass over events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from exp_platform.config.models import Metric
from exp_platform.metrics.values import post_period
from exp_platform.sums.event_bins import EVENT_BINS_SCHEMA, EventBins
from exp_platform.sums.event_columns import Cell
from exp_platform.transforms.event_pass import EventPart


def histogram_part(metrics: Sequence[Metric], end_ts: datetime, dimensions: Sequence[str] = ()) -> EventPart:
    """Bins of the events in the windows, in the groups of the statistics; without cells where no metric has any.

    Where a metric has `maturity: complete` only mature units' events count, and a fixed cap holds for each event. A
    unit whose window holds some of an excluded date has no event.
    """
    wanted = tuple(
        (i, m, Cell(m.sources[0], post_period(m, end_ts), m.maturity_in_force == "complete", usable=True))
        for i, m in enumerate(metrics)
        if m.of_events
    )
    cells, unit = tuple(cell for _, _, cell in wanted), ("variant_id", "cohort_date", "unit_bucket")
    return EventPart(cells, unit, partial(EventBins, wanted), EVENT_BINS_SCHEMA, tuple(dimensions))
