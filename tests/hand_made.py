"""Statistics tables made by hand from unit rows: what J5 would write, in plain numpy, for tests that need no Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from exp_platform.config.models import Experiment, Metric, Variant, Window
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.histogram import Bins, bin_of
from exp_platform.stats.sufficient import SufficientStatistics

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_DAY = START.date()
STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL = "gold.fct_experiment_panel_statistics"


@dataclass
class Units:
    """Unit rows of one metric; `d` and `pre_d` are a ratio's denominators."""

    arm: Any
    day: Any
    y: Any
    pre: Any
    country: Any = None
    d: Any = None
    pre_d: Any = None


def metric(name: str, kind: str = "mean", **keys: Any) -> Metric:
    """A metric contract with a window of a week and two weeks before."""
    base: dict[str, Any] = {"version": 1, "description": name, "owner": "tests", "direction": "increase"}
    base |= {"window": Window(end_hours=168), "pre_period_days": 14}
    if kind == "ratio":
        base |= {
            "numerator": {"source": "revenue", "aggregation": "sum"},
            "denominator": {"source": "sessions", "aggregation": "count"},
        }
    if kind == "quantile":
        base |= {"quantile": 0.5}
    return Metric(name=name, type=kind, **(base | keys))


def experiment(metrics: Sequence[Metric], arms: Sequence[str] = ("control", "treatment"), **keys: Any) -> Experiment:
    """A registry entry over four weeks with equal arms; the first metric is the primary."""
    base: dict[str, Any] = {
        "experiment_id": "exp_test",
        "name": "A test",
        "owner": "tests",
        "hypothesis": "It is better.",
        "start_ts": START,
        "end_ts": START + timedelta(days=28),
        "variants": tuple(Variant(id=a, allocation=1 / len(arms), is_control=i == 0) for i, a in enumerate(arms)),
        "analysis_mode": "itt",
        "metrics": tuple(m.name for m in metrics),
        "primary_metric": metrics[0].name,
        "dimensions": ("country",),
    }
    return Experiment(**(base | keys))


def plan(metrics: Sequence[Metric], days: int = 14, **keys: Any) -> AnalysisPlan:
    """The plan as of the day number `days`."""
    cutoff = START + timedelta(days=days)
    return AnalysisPlan(experiment(metrics, **keys), tuple(metrics), cutoff.date() - timedelta(days=1), cutoff)


def draw_units(
    seed: int,
    per_arm: int,
    arms: Sequence[str] = ("control", "treatment"),
    days: int = 14,
    *,
    effects: Mapping[str, float] | None = None,
    base: float = 10.0,
    kind: str = "mean",
) -> Units:
    """Units whose value correlates with the pre-period one; `effects` shifts an arm's mean."""
    rng = np.random.default_rng(seed)
    n = per_arm * len(arms)
    arm = np.repeat(np.array(arms, dtype=object), per_arm)
    habit = rng.normal(0, 1, n)
    shift = np.array([(effects or {}).get(a, 0.0) for a in arm])
    pre = base + habit + rng.normal(0, 1, n)
    y = base + habit + rng.normal(0, 1, n) + shift
    if kind == "binary":
        pre = (rng.random(n) < 0.3).astype(float)
        y = (rng.random(n) < base + shift).astype(float)
    day = np.array([START.date() + timedelta(days=int(i)) for i in rng.integers(0, days, n)], dtype=object)
    country = np.where(rng.random(n) < 0.5, "DE", "FR").astype(object)
    d = pre_d = None
    if kind == "ratio":
        d, pre_d = rng.poisson(4, n) + 1.0, rng.poisson(4, n) + 1.0
        y, pre = y * d, pre * pre_d
    return Units(arm, day, y, pre, country, d, pre_d)


def statistics(tables: Mapping[Metric | str, Units] | Sequence[tuple[Metric, Units]]) -> pa.Table:
    """Both grouping sets of the statistics table."""
    pairs = tables.items() if isinstance(tables, Mapping) else tables
    rows = [row for contract, units in pairs for row in _metric_rows(contract, units)]
    return _table(STATISTICS, rows)


def panel(
    name: str, arms: Mapping[str, Any], day: date = FIRST_DAY, clusters: Mapping[str, Any] | None = None
) -> pa.Table:
    """The panel of one cohort date: for each arm a matrix units × days before assignment (the last column is −1).

    `clusters` names the cluster of each unit of an arm, None for no value.
    """
    rows = []
    for arm, values in arms.items():
        matrix = np.asarray(values, dtype=float)
        days = matrix.shape[1]
        stores = np.asarray((clusters or {}).get(arm, [None] * len(matrix)), dtype=object)
        known = sorted({store for store in stores if store is not None})
        for i in range(days):
            for j in range(i, days):
                sums = (matrix[:, i].sum(), matrix[:, j].sum(), (matrix[:, i] * matrix[:, j]).sum())
                where = ("exp_test", name, arm, day, i - days, j - days, len(matrix))
                row = dict(zip(TABLES[PANEL].columns, (*where, *sums), strict=False))
                if i == j and known:
                    row["cluster_units"] = [(store, int((stores == store).sum())) for store in known]
                    row["cluster_sums"] = [(store, float(matrix[stores == store, i].sum())) for store in known]
                rows.append(row)
    return _table(PANEL, rows)


def empty(name: str) -> pa.Table:
    """A declared table without rows."""
    return _table(name, [])


def _metric_rows(contract: Any, units: Units) -> list[dict[str, Any]]:
    rows = []
    bucket = np.arange(len(units.arm)) % 256
    for arm in sorted(set(units.arm)):
        mine = units.arm == arm
        for day in sorted(set(units.day[mine])):
            here = mine & (units.day == day)
            rows.append(_row(contract, units, here, arm, "all", day, -1))
            if units.country is not None:
                for value in sorted({v for v in units.country[here] if v is not None}):
                    segment = f"country={value}"
                    rows.append(_row(contract, units, here & (units.country == value), arm, segment, day, -1))
        for b in sorted(set(bucket[mine])):
            rows.append(_row(contract, units, mine & (bucket == b), arm, "all", None, int(b)))
    return rows


def _row(contract: Any, units: Units, where: Any, arm: str, segment: str, day: Any, bucket: int) -> dict[str, Any]:
    y, pre = units.y[where], units.pre[where]
    has = ~np.isnan(y)
    ratio = units.d is not None
    d, pre_d = (units.d[where], units.pre_d[where]) if ratio else (None, None)
    x = np.stack([pre, pre_d], axis=1) if ratio else pre[:, None]
    v = np.stack([y, d, pre, pre_d], axis=1) if ratio else np.stack([y, pre], axis=1)
    s = SufficientStatistics.from_units(y, x=x, d=d, v=v[has])
    if contract.type == "quantile":
        bins = Bins.of_values(bin_of(y[has]), y[has])
        histogram = list(zip(bins.code.tolist(), bins.count.astype(int).tolist(), strict=True))
        extremes = {"histogram_lows": bins.low.tolist(), "histogram_highs": bins.high.tolist()}
    else:
        histogram, extremes = None, {}
    scalars = {name: float(getattr(s, name)) for name in ("y", "yy", "yyy", "d", "dd", "yd")}
    lists = {name: getattr(s, name).ravel().tolist() for name in ("x", "xx", "xy", "dx", "did_v", "did_vv")}
    return {
        "experiment_id": "exp_test",
        "metric_name": contract.name,
        "metric_version": contract.version,
        "variant_id": arm,
        "segment": segment,
        "cohort_date": day,
        "unit_bucket": bucket,
        "n": int(s.n),
        "n_null": int(s.n_null),
        "n_mature": int(where.sum()),
        "did_n": int(s.did_n),
        "covariates": ["pre_numerator", "pre_denominator"] if ratio else ["pre"],
        "with_denominator": int((d[has] != 0).sum()) if ratio else None,
        "histogram": histogram,
        "cap": None,
        "cap_denominator": None,
        **extremes,
        **scalars,
        **lists,
    }


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(TABLES[name])])
    return pa.Table.from_pylist(rows, schema=schema)


def assigned(units: Units) -> list[dict[str, Any]]:
    """Rows of fct_experiment_quality_metrics_daily: every unit was assigned on its cohort date."""
    rows = []
    for arm in sorted(set(units.arm)):
        for day in sorted(set(units.day)):
            count = int(((units.arm == arm) & (units.day == day)).sum())
            rows.append({"variant_id": arm, "date": day, "assigned": count})
    return rows
