"""The way to a deciding number: plain difference, cap, adjustment, and the users beside the analysed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.memo.answers import ALL
from exp_platform.memo.published import Source
from exp_platform.results.plan import in_force
from exp_platform.results.uncapped import cap_text, uncapped_effect
from exp_platform.status import Method

Row = Mapping[str, Any]
BEYOND = {
    "exposed": (Method.ITT, "All assigned, not only exposed"),
    "itt": (Method.EXPOSED, "The exposed alone"),
}
ADJUSTED = {
    Method.CUPED: "Adjusted for before (CUPED)",
    Method.DID: "Less the difference before (DiD)",
}


@dataclass(frozen=True)
class Stop:
    """One estimate on the way, and the label of the change that leads to it from the stop before."""

    label: str
    effect: float
    low: float | None  # ends of the interval in force; None where they are not kept
    high: float | None
    p_value: float | None
    users: int
    decides: bool = False


def stops(source: Source, metric: Metric, arm: str) -> tuple[Stop, ...]:
    """The estimates of one arm on one metric in their order; none where there is no plain estimate."""
    rows = {
        row["method"]: row
        for row in source.published.results
        if row["segment"] == ALL and row["metric_name"] == metric.name and row["variant_id"] == arm
    }
    columns = in_force(source.plan.interval_in_force, metric.decision_scale)
    decides = source.plan.experiment.method_in_force
    plain = rows.get(Method.AB.value)
    if plain is None or plain[columns["effect"]] is None:
        return ()
    found = [*_start(source, metric, plain, columns)]
    adjusted = Method.CUPED if decides == Method.AB.value else Method(decides)
    more = ((adjusted, ADJUSTED[adjusted]), BEYOND[source.plan.experiment.analysis_mode])
    for method, label in more:
        row = rows.get(method.value)
        if row is not None and row[columns["effect"]] is not None:
            found.append(_stop(label, row, columns, decides == method.value))
    return tuple(found)


def has_no_start(source: Source, metric: Metric, arm: str) -> bool:
    """True where the contract caps the metric and the effect without the cap is not kept."""
    return metric.cap is not None and not any(stop.low is None for stop in stops(source, metric, arm)[:1])


def _start(source: Source, metric: Metric, plain: Row, columns: Mapping[str, str]) -> list[Stop]:
    """The plain difference, where there is a cap without and with it."""
    decides = source.plan.experiment.method_in_force == Method.AB.value
    cap = cap_text(metric)
    if cap is None:
        return [_stop("Plain difference, no cap", plain, columns, decides)]
    effect = uncapped_effect(metric, plain, source.published.uncapped, source.plan.arms[0])
    capped = _stop(f"Capped {cap}", plain, columns, decides)
    if effect is None:
        return [capped]
    return [Stop("Plain difference, without the cap", effect, None, None, None, capped.users), capped]


def _stop(label: str, row: Row, columns: Mapping[str, str], decides: bool) -> Stop:
    return Stop(
        label=label,
        effect=row[columns["effect"]],
        low=row[columns["low"]],
        high=row[columns["high"]],
        p_value=row[columns["p"]],
        users=(row["control_n"] or 0) + (row["treatment_n"] or 0),
        decides=decides,
    )
