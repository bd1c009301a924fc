"""Pre-trends: gold.fct_experiment_panel_statistics as arrays, and its rows of deltas and tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.causal.daily_differences import PanelMoments
from exp_platform.causal.pretrends import FEWER_CLUSTERS_THAN_DAYS, TESTS, pretrend_deltas, pretrend_tests
from exp_platform.config.models import Metric
from exp_platform.results.cube import Axes, positions
from exp_platform.results.frame import Frame, concat, labels, take
from exp_platform.results.panel_days import kept
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.sufficient import Array
from exp_platform.status import PretrendVerdict


def pretrend_frames(table: pa.Table, axes: Axes, units: dict[str, Array], plan: AnalysisPlan) -> tuple[Frame, Frame]:
    """Deltas per relative day and the two tests, for each metric × treatment arm that has a panel.

    `units` holds for each metric its included units by arm × cohort date: a unit without an event before assignment
    is a row of zeros in the panel, not an absence.
    """
    deltas, tests = [_empty_deltas()], [_empty_tests()]
    for days, metrics in _by_length(table, plan).items():
        names = [metric.name for metric in metrics]
        panel = _panel(table, names, axes, days, np.stack([units[name] for name in names], axis=-1))
        panel, rows = _usable(panel, table, axes, plan)
        for some, part in _parts(rows, names, axes, panel, plan):
            deltas.append(_delta_frame(part, some, axes, plan))
            tests.append(_test_frame(part, some, axes, plan))
    return concat(deltas), concat(tests)


def _usable(panel: PanelMoments, table: pa.Table, axes: Axes, plan: AnalysisPlan) -> tuple[PanelMoments, pa.Table]:
    """The panel and its rows without what excluded outcome dates touch."""
    if not plan.experiment.excluded("outcomes"):
        return panel, table
    dates, days = kept(axes.dates, panel.relative_days, panel.n.sum(axis=(0, 2)), plan.experiment)
    lost = pa.array([day for day, stays in zip(axes.dates, dates, strict=True) if not stays], pa.date32())
    there = dates[None, :, None]
    usable = PanelMoments(
        panel.relative_days[days],
        np.where(there, panel.n, 0.0),
        np.where(there[..., None], panel.sums, 0.0)[..., days],
        np.where(there[..., None, None], panel.products, 0.0)[..., days, :][..., days],
    )
    return usable, table.filter(pc.invert(pc.is_in(table["cohort_date"], lost)))


def _parts(
    table: pa.Table, names: Sequence[str], axes: Axes, panel: PanelMoments, plan: AnalysisPlan
) -> Iterator[tuple[Sequence[str], PanelMoments]]:
    """All metrics at once; for a rollout with clusters each metric for itself, because clusters can be many."""
    if not plan.is_rollout:
        yield names, PanelMoments(panel.relative_days, *(v.sum(axis=1) for v in (panel.n, panel.sums, panel.products)))
        return
    clusters = cluster_names(table) if plan.experiment.cluster else []
    if not clusters:
        yield names, panel
        return
    for j, name in enumerate(names):
        columns = (panel.n, panel.sums, panel.products)
        one = PanelMoments(panel.relative_days, *(column[:, :, j : j + 1] for column in columns))
        yield [name], _with_clusters(one, table.filter(pc.equal(table["metric_name"], name)), clusters, axes)


def cluster_names(table: pa.Table) -> list[str]:
    """The clusters that any unit of a panel is in."""
    keys = table["cluster_units"].combine_chunks().keys
    return sorted(keys.unique().to_pylist())


def _with_clusters(panel: PanelMoments, rows: pa.Table, clusters: Sequence[str], axes: Axes) -> PanelMoments:
    """The panel of one metric with its clusters; units without a value are one more, so that none is lost."""
    mine = rows.filter(pc.equal(rows["day_i"], rows["day_j"]))
    index = [
        positions(mine["variant_id"], axes.arms),
        positions(mine["cohort_date"], axes.dates),
        positions(mine["day_i"], panel.relative_days.tolist()),
    ]
    known = np.all([i >= 0 for i in index], axis=0)
    lead = (*panel.n.shape[:2], len(clusters) + 1)
    units, sums = np.zeros(lead), np.zeros((*lead, len(panel.relative_days)))
    row, cluster, n = _entries(mine["cluster_units"], clusters)
    kept = known[row]
    arm, day, relative = (i[row[kept]] for i in index)
    units[arm, day, cluster[kept]] = n[kept]
    row, cluster, total = _entries(mine["cluster_sums"], clusters)
    kept = known[row]
    arm, day, relative = (i[row[kept]] for i in index)
    sums[arm, day, cluster[kept], relative] = total[kept]
    units[..., -1] = np.maximum(panel.n[:, :, 0] - units.sum(axis=-1), 0.0)
    # What rounding leaves of no unit at all is nothing.
    rest = panel.sums[:, :, 0] - sums.sum(axis=2)
    sums[:, :, -1] = np.where(units[..., -1:] > 0, rest, 0.0)
    return replace(panel, cluster_n=units[:, :, None], cluster_sums=sums[:, :, None])


def _entries(column: pa.ChunkedArray, clusters: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Row, place of the cluster and value of every entry of a column of maps."""
    maps = column.combine_chunks()
    offsets = maps.offsets.to_numpy()
    first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
    rows = np.repeat(np.arange(len(maps)), np.diff(offsets))
    keys, values = (part.slice(first, length) for part in (maps.keys, maps.items))
    return rows, positions(keys, clusters), np.asarray(values.to_numpy(), dtype=float)


def joint_verdict(verdicts: Iterable[str]) -> str:
    """One word for the tests of one metric × arm: all must pass; none at all is insufficient_data."""
    found = set(verdicts)
    if PretrendVerdict.FAILED.value in found:
        return PretrendVerdict.FAILED.value
    if found == {PretrendVerdict.PASSED.value}:
        return PretrendVerdict.PASSED.value
    return PretrendVerdict.INSUFFICIENT_DATA.value


def _by_length(table: pa.Table, plan: AnalysisPlan) -> dict[int, list[Metric]]:
    there = set(pc.unique(table["metric_name"]).to_pylist())
    groups: dict[int, list[Metric]] = {}
    for metric in plan.metrics:
        days = plan.experiment.pre_period_days if metric.pre_period_days is None else metric.pre_period_days
        if metric.name in there and days > 0:
            groups.setdefault(days, []).append(metric)
    return groups


def _panel(table: pa.Table, names: Sequence[str], axes: Axes, days: int, units: Array) -> PanelMoments:
    """Lead (arm, cohort date, metric)."""
    relative_days = np.arange(-days, 0)
    index = [
        positions(table["variant_id"], axes.arms),
        positions(table["cohort_date"], axes.dates),
        positions(table["metric_name"], names),
        positions(table["day_i"], relative_days.tolist()),
        positions(table["day_j"], relative_days.tolist()),
    ]
    keep = np.all([i >= 0 for i in index], axis=0)
    arm, day, metric, i, j = (column[keep] for column in index)
    rows = table.filter(pa.array(keep))
    lead = (len(axes.arms), len(axes.dates), len(names))
    sums, products = np.zeros((*lead, days)), np.zeros((*lead, days, days))
    sums[arm, day, metric, i] = rows["sum_i"].to_numpy()
    sums[arm, day, metric, j] = rows["sum_j"].to_numpy()
    products[arm, day, metric, i, j] = rows["sum_ij"].to_numpy()
    products[arm, day, metric, j, i] = rows["sum_ij"].to_numpy()
    return PanelMoments(relative_days, units, sums, products)


def _delta_frame(panel: PanelMoments, names: Sequence[str], axes: Axes, plan: AnalysisPlan) -> Frame:
    result = pretrend_deltas(panel, by_cohort_date=plan.is_rollout, alpha=plan.experiment.alpha)
    variant, metric, day = labels(axes.arms[1:], names, panel.relative_days.tolist())
    columns = {
        name: getattr(result, name).ravel() for name in ("control_mean", "treatment_mean", "delta", "ci_low", "ci_high")
    }
    return {"variant_id": variant, "metric_name": metric, "relative_day": day, **columns}


def _test_frame(panel: PanelMoments, names: Sequence[str], axes: Axes, plan: AnalysisPlan) -> Frame:
    """Two rows for each metric × arm; the slope alone where its clusters are too few for the joint test."""
    result = pretrend_tests(panel, by_cohort_date=plan.is_rollout)
    variant, metric, test = labels(axes.arms[1:], names, TESTS)
    columns = {
        name: getattr(result, name).ravel()
        for name in ("statistic", "df", "df_denominator", "p_value", "p_value_adjusted", "verdict", "reason")
    }
    frame: Frame = {"variant_id": variant, "metric_name": metric, "test": test, **columns}
    alone = (frame["test"] == "joint") & (frame["reason"] == FEWER_CLUSTERS_THAN_DAYS)
    return take(frame, ~alone)


def _empty_deltas() -> Frame:
    text = ("variant_id", "metric_name")
    numbers = ("control_mean", "treatment_mean", "delta", "ci_low", "ci_high")
    return {
        **{name: np.empty(0, dtype=object) for name in text},
        "relative_day": np.empty(0, dtype=np.int64),
        **{name: np.empty(0) for name in numbers},
    }


def _empty_tests() -> Frame:
    text = ("variant_id", "metric_name", "test", "verdict", "reason")
    numbers = ("statistic", "df", "df_denominator", "p_value", "p_value_adjusted")
    return {**{name: np.empty(0, dtype=object) for name in text}, **{name: np.empty(0) for name in numbers}}
