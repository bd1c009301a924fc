"""The plain difference of the arms without the cap, from the uncapped sums by calendar day that J5 keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.models import Metric
from exp_platform.metrics.values import unit_values

Row = Mapping[str, Any]
Sums = Mapping[tuple[str, str], tuple[float, float | None]]  # metric, arm -> sum of values, of a ratio's denominators


def calendar_sums(daily: pa.Table) -> dict[tuple[str, str], tuple[float, float | None]]:
    """The uncapped sums of each metric and arm over all days, each rounded once.

    `daily` is exp.metric_aggregates_daily, which has calendar days for metrics that add up over days.
    """
    mine = daily.filter((pc.field("date_kind") == "calendar") & (pc.field("segment") == "all"))
    values: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for row in mine.select(["metric_name", "variant_id", "sum", "denominator_sum"]).to_pylist():
        tops, bottoms = values.setdefault((row["metric_name"], row["variant_id"]), ([], []))
        tops.append(row["sum"])
        bottoms += [row["denominator_sum"]] if row["denominator_sum"] is not None else []
    return {key: (math.fsum(tops), math.fsum(bottoms) if bottoms else None) for key, (tops, bottoms) in values.items()}


def cap_text(metric: Metric) -> str | None:
    """The contract's cap in words; None where there is none."""
    if metric.cap is None:
        return None
    return f"at {metric.cap.value:g}" if metric.cap.value is not None else f"at the quantile {metric.cap.quantile:g}"


def keeps_uncapped(metric: Metric) -> bool:
    """True where the sums by calendar day are those of the users whom the result compares."""
    if metric.estimand not in ("mean", "ratio") or metric.maturity_in_force != "any":
        return False
    return all(part.traits.adds_up_over_days for part in unit_values(metric))


def uncapped_effect(metric: Metric, row: Row, sums: Sums, control: str) -> float | None:
    """The plain effect of an arm without the cap, on the metric's decision scale; None where it is not kept.

    `row` is the arm's plain result, whose number of users counts; a metric without a cap has its very effect.
    """
    scale = "effect_rel" if metric.decision_scale == "relative" else "effect_abs"
    plain: float | None = row[scale]
    if plain is None or metric.cap is None:
        return plain
    ends = [sums.get((metric.name, arm)) for arm in (control, row["variant_id"])]
    if not keeps_uncapped(metric) or None in ends:
        return None
    users = (row["control_n"], row["treatment_n"])
    levels = [_level(end, n) for end, n in zip(ends, users, strict=True) if end is not None]
    before, after = levels
    if before is None or after is None or (scale == "effect_rel" and not before):
        return None
    return after / before - 1 if scale == "effect_rel" else after - before


def _level(sums: tuple[float, float | None], users: int | None) -> float | None:
    top, bottom = sums
    divisor = users if bottom is None else bottom
    return top / divisor if divisor else None
