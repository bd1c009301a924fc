"""The audit of a stage: the suite of each table that it publishes runs before the rows become visible.

lake/row_audit.py has checked schema, nulls, grain and finite numbers in one aggregate; the other rules of a suite
run here. Great Expectations checks Spark frames in the stage's own session: two Spark aggregates for the rules about
columns and single rows, one scan for each other query. Small Arrow tables of stages without a session are checked by
the same rules without Great Expectations (see arrow_rules.py). A failed critical rule blocks the publication; a failed
warning is only reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from exp_platform.config.models import Experiment, Metric
from exp_platform.lake.row_audit import Audit, Finding, Part
from exp_platform.lake.tables import TABLES, Table
from exp_platform.quality.arrow_rules import check_arrow
from exp_platform.quality.rule import Rule, view_name
from exp_platform.quality.suites import load_rules, suite_path, suites_root

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def suite_audit(parameters: Mapping[str, Any], read: Callable[[str], DataFrame]) -> Audit:
    """The audit for one stage of one experiment; `read` gives the rows of another table that a rule compares with."""

    def audit(frame: Any, table: Table, part: Part | None) -> list[Finding]:
        return audit_frame(frame, table.name, parameters, read, part=part)

    return audit


def suite_parameters(experiment: Experiment, metrics: Sequence[Metric]) -> dict[str, list[str]]:
    """The parameters of the suites that come from the experiment: its variants and metrics."""
    variants = [variant.id for variant in experiment.live_variants]
    return {
        "variants": variants,
        "variants_and_all": [*variants, "all"],
        "metrics": [metric.name for metric in metrics],
    }


def audit_frame(
    frame: DataFrame | pa.Table,
    table: str,
    parameters: Mapping[str, Any],
    read: Callable[[str], DataFrame] | None = None,
    *,
    whole_suite: bool = False,
    part: Part | None = None,
) -> list[Finding]:
    """The findings of each rule that lake/row_audit.py does not check (or of the whole suite).

    With a part, only the part's rows are checked when all rules allow it: the rows that stay have passed before.
    """
    if not suite_path(suites_root(), table).exists():  # ops tables are read by no later stage and have no suite
        return []
    rules = [rule for rule in load_rules(suites_root(), table) if whole_suite or not rule.in_publish]
    if isinstance(frame, pa.Table):
        return [check_arrow(frame, TABLES[table], filled_in(rule, parameters)) for rule in rules]
    if not rules:
        return []
    from exp_platform.quality import gx

    others = {name for rule in rules for name in rule.reads}
    if part and not (all(rule.is_about_rows for rule in rules) and all(part.column in TABLES[o].types for o in others)):
        part = None
    for other in others:
        if read is None:
            raise TypeError(f"{table}: its suite reads {other}; call audit_frame with `read`, which returns that table")
        _within(part, read(other)).createOrReplaceTempView(view_name(other))
    return gx.check_frame(_within(part, frame), table, rules, parameters, "spark")


def _within(part: Part | None, frame: DataFrame) -> DataFrame:
    return frame if part is None else frame.where(part.holds())


def filled_in(rule: Rule, parameters: Mapping[str, Any]) -> Rule:
    """The rule with the values of its parameters filled in."""
    arguments = {
        key: parameters[value["$PARAMETER"]] if isinstance(value, dict) and "$PARAMETER" in value else value
        for key, value in rule.arguments.items()
    }
    return Rule(rule.text, rule.kind, arguments, rule.severity, rule.reads, rule.in_publish)
