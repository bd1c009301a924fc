"""The inputs of J5, and the results of its passes over unit rows and events, from which the tables are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
from pyspark.sql import DataFrame

from exp_platform.config.models import Metric
from exp_platform.lake.batches import Batches
from exp_platform.sums.panel_sums import PanelCut
from exp_platform.sums.panels import Panel, panels_of
from exp_platform.sums.scales import Scales
from exp_platform.transforms.daily_values import panel_part, source_bounds
from exp_platform.transforms.earlier_sums import LastRun
from exp_platform.transforms.event_pass import EventPart, EventPass
from exp_platform.transforms.joins import HASH, JoinHint, hardly_any_other
from exp_platform.transforms.running_values import SeriesInputs


@dataclass(frozen=True)
class SumInputs:
    """The inputs of J5 for one experiment."""

    experiment_id: str
    units: Batches  # gold.fct_experiment_unit_outcomes
    cohort: DataFrame  # gold.fct_experiment_cohort
    outcomes: DataFrame  # exp.outcomes
    metrics: Sequence[Metric]
    variants: Sequence[str]  # live arms
    end_ts: datetime
    cutoff: datetime
    far: bool = False  # True when a value is 2^32 or more (see `unit_partials`)
    join: JoinHint = HASH
    cluster: str | None = None  # dimension that clusters a rollout's errors
    dimensions: tuple[str, ...] | None = None  # that units may have; None: they are looked up in the cohort
    few: bool = False  # True when most events are of users that are none of the units
    excluded: Sequence[date] = ()  # dates whose outcomes can't be used
    last: LastRun | None = None  # the earlier run whose sums are reused
    series: SeriesInputs | None = None  # None: no rows of the series are asked for

    def over(self, cohort: DataFrame, outcomes: DataFrame) -> EventPass:
        """A pass over some events and units of the experiment."""
        if self.few:
            outcomes = hardly_any_other(outcomes, cohort.where("included"))
        return EventPass(cohort, outcomes, self.cutoff, self.join, self.far, self.excluded)


@dataclass(frozen=True)
class UnitRows:
    """The results of the passes over unit rows: scales, and sums by group."""

    scales: Scales
    sums: pa.Table

    @property
    def dates(self) -> set[date]:
        """The cohort dates."""
        return {day for day in self.sums["cohort_date"].unique().to_pylist() if day is not None}


@dataclass(frozen=True)
class EventTables:
    """The results of one pass over all events, by table; None where a table reads events in a pass of its own."""

    panel: pa.Table | None = None
    calendar: pa.Table | None = None
    bins: pa.Table | None = None
    changes: pa.Table | None = None


@dataclass(frozen=True)
class WantedPanels:
    """The panels of the metrics, and how their values are cut."""

    by_metric: dict[str, Panel]
    panels: tuple[Panel, ...]
    cut: PanelCut

    @classmethod
    def of(cls, inputs: SumInputs) -> WantedPanels:
        """From the metrics and the largest event of each source."""
        by_metric, last = panels_of(inputs.metrics), inputs.last
        panels = tuple(dict.fromkeys(by_metric.values()))
        bounds = source_bounds(inputs.outcomes if last is None else last.appended, panels) if panels else {}
        cut = PanelCut.of(panels, bounds, inputs.units.rows, None if last is None else last.panel_notes)
        return cls(by_metric, panels, cut)

    def part(self, inputs: SumInputs) -> EventPart:
        """Their sums and products, as a part of a pass over events."""
        return panel_part(self.panels, self.cut, far=inputs.far, cluster=inputs.cluster)
