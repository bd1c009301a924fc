"""Rules of suites: which of them one row alone can break, and by what condition."""

from __future__ import annotations

from exp_platform.quality.rule import between, has_rows, no_row, ordered
from exp_platform.quality.table_rules import TABLE_RULES


def test_columns_in_order_are_broken_where_they_are_not() -> None:
    assert ordered("low", "high").broken_where == "`high` < `low`"
    assert ordered("low", "high", strict=True).broken_where == "`high` <= `low`"


def test_a_plain_query_is_broken_where_its_condition_holds() -> None:
    assert no_row("", "SELECT a, b FROM {batch} WHERE a > b\n OR a = 1").broken_where == "a > b OR a = 1"


def test_other_rules_need_more_than_one_row_or_another_table() -> None:
    queries = (
        "SELECT a FROM {batch} WHERE a IN (SELECT b FROM other)",
        "SELECT a FROM {batch} WHERE a > 0 GROUP BY a",
        "SELECT a FROM {batch} x JOIN other WHERE x.a > 0",
        "SELECT a FROM (SELECT max(a) AS a FROM {batch}) WHERE a > 0",
        "SELECT a FROM {batch} WHERE a > max(b)",
    )
    assert [no_row("", query).broken_where for query in queries] == [None] * len(queries)
    assert no_row("", "SELECT a FROM {batch} WHERE a > 0", reads=["exp.outcomes"]).broken_where is None
    assert has_rows().broken_where is None and between("a", low=0).broken_where is None


def test_queries_that_cost_a_scan_of_their_own_compare_with_another_table_or_count() -> None:
    rules = [rule for rules in TABLE_RULES.values() for rule in rules if "unexpected_rows_query" in rule.arguments]
    assert all(rule.reads or not rule.is_about_rows for rule in rules if rule.broken_where is None)
