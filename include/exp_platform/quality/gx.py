"""Run suites with Great Expectations on a Spark or pandas frame; only this module imports the package."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from exp_platform.lake.row_audit import SAMPLE_ROWS, Finding
from exp_platform.lake.tables import TABLES
from exp_platform.quality.deferred import deferred, no_search_for_garbage
from exp_platform.quality.rule import Rule
from exp_platform.quality.suites import expectation_of, suite_of, suites_root

Engine = Literal["spark", "pandas"]
# Great Expectations draws charts and tests distributions with these, which no suite of this project asks for.
_NOT_USED = ("altair", "scipy.stats")


def preload() -> None:
    """Import Great Expectations in a thread, while Python waits seconds for a session to start."""
    threading.Thread(target=load_great_expectations, name="import great_expectations", daemon=True).start()


def load_great_expectations() -> Any:
    """Import Great Expectations without usage statistics and without its log lines and warnings."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings(), deferred(*_NOT_USED), no_search_for_garbage():
        warnings.simplefilter("ignore")
        import great_expectations
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


@cache
def _context() -> Any:
    return load_great_expectations().get_context(mode="file", context_root_dir=str(suites_root()))


def check_frame(
    frame: Any, table: str, rules: Sequence[Rule], parameters: Mapping[str, Any], engine: Engine
) -> list[Finding]:
    """The finding of each rule on a frame.

    The first pass only finds which rules fail: Great Expectations then needs two Spark aggregates for all rules about
    columns and single rows, and one scan for each other query. A second pass gets counts and samples, for the failed
    rules alone.
    """
    asked = [_counted(rule, engine) for rule in rules]
    first = {result["id"]: result for result in _validate(frame, table, asked, parameters, engine, _BOOLEAN)}
    failed = [rule for rule in rules if not first[_id_of(table, rule)]["success"]]
    crashed = {_id for _id, result in first.items() if _crash(result)}
    columns = [rule for rule in failed if _id_of(table, rule) not in crashed and not _is_query(rule)]
    queries = [rule for rule in failed if _id_of(table, rule) not in crashed and _is_query(rule)]
    grain = [c for c in TABLES[table].grain if c != "experiment_id"]
    second: dict[str, Any] = {}
    for chosen, form in ((columns, _summary(grain)), (queries, _COMPLETE)):
        if chosen:
            second |= {r["id"]: r for r in _validate(frame, table, chosen, parameters, engine, form)}
    return [_finding(rule, second.get(key := _id_of(table, rule), first[key])) for rule in rules]


def _counted(rule: Rule, engine: Engine) -> Rule:
    """For a query, a rule that counts the rows found without fetching them; in an aggregate where one row tells."""
    if engine == "spark" and (condition := rule.broken_where):
        return replace(rule, kind=_condition_counter(), arguments={"condition": condition})
    return replace(rule, kind=_row_counter()) if _is_query(rule) else rule


@cache
def _condition_counter() -> str:
    """Define an expectation that no row meets a condition, and return its type's name.

    Its metric is part of an aggregate over all of the batch, where a pair of columns would cost a scan of its own.
    """
    load_great_expectations()
    from great_expectations.core.metric_domain_types import MetricDomainTypes
    from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
    from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
    from great_expectations.expectations.expectation import BatchExpectation
    from great_expectations.expectations.metrics.metric_provider import metric_partial
    from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

    name = "table.rows_that_meet_a_condition"

    class RowsThatMeetACondition(TableMetricProvider):
        """Number of rows for which a condition in Spark SQL is true."""

        metric_name = name
        value_keys = ("condition",)

        @metric_partial(
            engine=SparkDFExecutionEngine,
            partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
            domain_type=MetricDomainTypes.TABLE,
        )
        def _spark(cls: Any, metric_domain_kwargs: Any, metric_value_kwargs: Any, **_: Any) -> Any:  # noqa: N805
            from pyspark.sql import functions as F

            return F.count_if(F.expr(metric_value_kwargs["condition"])), metric_domain_kwargs, {}

    class ExpectNoRowToMeetACondition(BatchExpectation):
        """No row meets the condition."""

        condition: str
        metric_dependencies = (name,)
        success_keys = ("condition",)

        def _validate(self, metrics: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
            return {"success": metrics[name] == 0, "result": {"observed_value": metrics[name]}}

    kind: str = ExpectNoRowToMeetACondition.expectation_type
    return kind


@cache
def _row_counter() -> str:
    """Define an expectation like unexpected_rows_expectation that fetches no rows, and return its type's name."""
    expectations = load_great_expectations().expectations

    class ExpectQueryToFindNothing(expectations.UnexpectedRowsExpectation):  # type: ignore[misc, name-defined]
        """The query finds no row."""

        metric_dependencies = ("unexpected_rows_query.row_count",)

        def _validate(self, metrics: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
            count = metrics["unexpected_rows_query.row_count"]
            return {"success": count == 0, "result": {"observed_value": count}}

    kind: str = ExpectQueryToFindNothing.expectation_type
    return kind


_BOOLEAN: dict[str, Any] = {"result_format": "BOOLEAN_ONLY"}
_COMPLETE: dict[str, Any] = {"result_format": "COMPLETE"}


def _summary(grain: Sequence[str]) -> dict[str, Any]:
    return {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": list(grain),
        "partial_unexpected_count": SAMPLE_ROWS,
    }


def _validate(
    frame: Any,
    table: str,
    rules: Sequence[Rule],
    parameters: Mapping[str, Any],
    engine: Engine,
    result_format: Mapping[str, Any],
) -> Iterable[Mapping[str, Any]]:
    """The result of each rule as a plain dictionary with the rule's id."""
    gx = load_great_expectations()
    context = _context()
    suite = gx.ExpectationSuite(**suite_of(table, rules))
    source = context.data_sources.get(engine)
    if engine == "spark":
        # By default it takes any session of the process, where a query would not find the frame's views.
        source.get_execution_engine().spark = frame.sparkSession
    definition = source.get_asset("table").get_batch_definition("whole")
    batch = definition.get_batch(batch_parameters={"dataframe": frame})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = batch.validate(suite, result_format=dict(result_format), expectation_parameters=dict(parameters))
    return [{"id": r.expectation_config.id, **r.to_json_dict()} for r in outcome.results]


def _id_of(table: str, rule: Rule) -> str:
    expectation: str = expectation_of(table, rule)["id"]
    return expectation


def _is_query(rule: Rule) -> bool:
    return "unexpected_rows_query" in rule.arguments


def _crash(result: Mapping[str, Any]) -> str:
    """The error message of an expectation that crashed; empty for any other."""
    info = result.get("exception_info") or {}
    single = [info] if "raised_exception" in info else list(info.values())
    messages = [str(e.get("exception_message")) for e in single if e.get("raised_exception")]
    return messages[0].splitlines()[0] if messages else ""


def _finding(rule: Rule, result: Mapping[str, Any]) -> Finding:
    """The finding of one rule; a crashed expectation blocks whatever its severity, because its result is unknown."""
    if crash := _crash(result):
        return Finding(rule.text, False, "critical", detail=f"the check itself failed: {crash[:300]}")
    found = result.get("result") or {}
    if result["success"]:
        return Finding(rule.text, True, rule.severity)
    if _is_query(rule):
        rows = (found.get("details") or {}).get("unexpected_rows") or []
        return Finding(rule.text, False, rule.severity, found.get("observed_value"), None, _keys(rows))
    count, percent = found.get("unexpected_count"), found.get("unexpected_percent")
    sample = _keys(found.get("partial_unexpected_index_list") or [])
    detail = f"found {found['observed_value']}" if count is None and "observed_value" in found else ""
    return Finding(rule.text, False, rule.severity, count, percent, sample, detail)


def _keys(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(", ".join(f"{c}={v}" for c, v in dict(row).items()) for row in rows[:SAMPLE_ROWS])
