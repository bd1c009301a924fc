"""The rows of gold.latest_results: the deciding rows, with the effect in force, the trust and the decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, LATEST_RESULTS
from exp_platform.results.plan import AnalysisPlan, in_force

Row = Mapping[str, Any]
_TAKEN_OVER = tuple(column for column in TABLES[ANALYSIS_RESULTS].columns if column in TABLES[LATEST_RESULTS].columns)


def latest_rows(
    deciding: Mapping[tuple[str, str], Row], plan: AnalysisPlan, trust: str, decisions: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """One row per metric and arm; `decisions` are those of this run by arm."""
    for (name, arm), row in deciding.items():
        scale = plan.metric(name).decision_scale
        columns = in_force(plan.interval_in_force, scale)
        yield {column: row[column] for column in _TAKEN_OVER} | {
            "role": role_of(name, plan),
            "trust": trust,
            "decision": decisions[arm],
            "interval_in_force": plan.interval_in_force,
            "decision_scale": scale,
            "effect": row[columns["effect"]],
            "ci_low": row[columns["low"]],
            "ci_high": row[columns["high"]],
            "p_value_in_force": row[columns["p"]],
        }


def role_of(metric: str, plan: AnalysisPlan) -> str:
    """The part that a metric plays in the decision: primary, secondary, or guardrail where it is only guarded."""
    if metric == plan.experiment.primary_metric:
        return "primary"
    return "secondary" if plan.is_secondary(metric) else "guardrail"
