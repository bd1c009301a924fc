"""J5: the panels of units' daily values before assignment, as a part of the pass over events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.sums.panel_events import PanelDays, panel_cells
from exp_platform.sums.panel_sums import PANEL_SUMS_SCHEMA, PanelCut, sources_of
from exp_platform.sums.panels import Panel
from exp_platform.transforms.event_pass import EventPart


def panel_part(panels: tuple[Panel, ...], cut: PanelCut, *, far: bool = False, cluster: str | None = None) -> EventPart:
    """The sums and products of units' daily values: relative_day = floor((event - assignment) / 24 h)."""
    kernel = partial(PanelDays, panels, cut, far=far, cluster=cluster)
    dimensions = () if cluster is None else (cluster,)
    return EventPart(panel_cells(panels), ("unit", "variant_id", "cohort_date"), kernel, PANEL_SUMS_SCHEMA, dimensions)


def source_bounds(outcomes: DataFrame, panels: Sequence[Panel]) -> dict[str, float]:
    """The largest absolute value of an event, by source; read from two columns, without a join."""
    largest = outcomes.where(F.col("metric_name").isin(*sources_of(panels))).groupBy("metric_name")
    return {row[0]: row[1] for row in largest.agg(F.max(F.abs("value"))).collect()}
