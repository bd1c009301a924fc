"""Pre-trend panels: daily values before assignment, their sums and cross products, as dense rows; no session needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from exp_platform.config.models import Aggregation, Metric
from exp_platform.metrics.values import pre_period_days, unit_values

Arm = tuple[str, date]


@dataclass(frozen=True)
class Panel:
    """Daily values that one or more metrics share."""

    source: str
    aggregation: Aggregation
    days: int


def panels_of(metrics: Sequence[Metric]) -> dict[str, Panel]:
    """The panel of each metric that adds up over days (sum, count) or can happen on a day (any); ratios have none."""
    found = {}
    for metric in metrics:
        values = unit_values(metric)
        if len(values) == 1 and values[0].traits.has_panel and pre_period_days(metric) > 0:
            found[metric.name] = Panel(values[0].source, values[0].aggregation, pre_period_days(metric))
    return found


@dataclass(frozen=True)
class PanelSums:
    """The totals of panels by panel × arm × cohort date × day, and those of each cluster where there are clusters."""

    sums: Mapping[tuple[int, str, date, int], float]
    products: Mapping[tuple[int, str, date, int, int], float]
    cluster_sums: Mapping[tuple[int, str, date, int], Mapping[str, float]]


def panel_rows(
    experiment_id: str,
    by_metric: Mapping[str, Panel],
    panels: Sequence[Panel],
    units: Mapping[Arm, int],
    clusters: Mapping[Arm, Mapping[str, int]],
    found: PanelSums,
    schema: pa.Schema,
) -> pa.Table:
    """Rows of gold.fct_experiment_panel_statistics: every pair of days, 0 where nothing happened; n is all units.

    `clusters` are the units of each cluster. Rows of a day with itself hold them and their sums, by name.
    """
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    for name, panel in sorted(by_metric.items()):
        k = panels.index(panel)
        for (variant, day), n in sorted(units.items()):
            known = sorted(clusters.get((variant, day), {}).items())
            for i in range(-panel.days, 0):
                of_cluster = found.cluster_sums.get((k, variant, day, i), {})
                for j in range(i, 0):
                    here = known if i == j else []
                    row = (
                        experiment_id, name, variant, day, i, j, n, found.sums.get((k, variant, day, i), 0.0),
                        found.sums.get((k, variant, day, j), 0.0), found.products.get((k, variant, day, i, j), 0.0),
                        here or None, [(cluster, of_cluster.get(cluster, 0.0)) for cluster, _ in here] or None,
                    )  # fmt: skip
                    for column, value in zip(PANEL_COLUMNS, row, strict=True):
                        columns[column].append(value)
    return pa.Table.from_pydict(columns, schema=schema)


PANEL_COLUMNS = (
    "experiment_id", "metric_name", "variant_id", "cohort_date", "day_i", "day_j", "n", "sum_i", "sum_j", "sum_ij",
    "cluster_units", "cluster_sums",
)  # fmt: skip
