"""One rule of a suite: Great Expectations' type and arguments, with the sentence that people read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "warning"]
_PAIR = "expect_column_pair_values_a_to_be_greater_than_b"
_ONE_ROW = re.compile(r"SELECT [\w, ]+ FROM \{batch\} WHERE ((?:(?!SELECT|GROUP BY|HAVING|ORDER BY|LIMIT|UNION).)+)")
_AGGREGATES = ("count(", "count_if(", "sum(", "avg(", "min(", "max(")


@dataclass(frozen=True)
class Rule:
    """One expectation on one table; a critical rule that fails, or any rule that crashes, blocks publication."""

    text: str  # the rule in words; it names the finding
    kind: str  # Great Expectations' type, such as expect_column_values_to_be_in_set
    arguments: dict[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"
    reads: tuple[str, ...] = ()  # other tables, which the query finds under `view_name`
    in_publish: bool = False  # True: lake/row_audit.py checks it for every table, so the stage's audit leaves it out

    @property
    def is_about_rows(self) -> bool:
        """True when a rule that holds for each part of the rows holds for all: it has no share, sum or row count."""
        query = str(self.arguments.get("unexpected_rows_query", "")).lower()
        adds_up = self.kind.startswith(("expect_table_", "expect_column_sum_")) or any(f in query for f in _AGGREGATES)
        return not adds_up and "mostly" not in self.arguments

    @property
    def broken_where(self) -> str | None:
        """The condition in Spark SQL for rows that break the rule; None where one row alone does not tell.

        >>> ordered("first", "last").broken_where
        '`last` < `first`'
        >>> no_row("what is open has no end", "SELECT id FROM {batch} WHERE is_open AND last IS NOT NULL").broken_where
        'is_open AND last IS NOT NULL'
        """
        if self.kind == _PAIR:
            sign = "<" if self.arguments["or_equal"] else "<="
            return f"`{self.arguments['column_A']}` {sign} `{self.arguments['column_B']}`"
        found = _ONE_ROW.fullmatch(str(self.arguments.get("unexpected_rows_query", "")))
        return found[1] if found and self.is_about_rows and not self.reads else None


def view_name(table: str) -> str:
    """The view under which a query finds another table's rows of this experiment, at the run's snapshot."""
    return table.replace(".", "__")


def parameter(name: str) -> dict[str, str]:
    """A name that stands for a value of the run, such as the `variants` or `metrics` of the experiment."""
    return {"$PARAMETER": name}


def in_set(column: str, allowed: Sequence[Any] | dict[str, str], severity: Severity = "critical") -> Rule:
    """Every value that is not null is one of the allowed values."""
    values = allowed if isinstance(allowed, dict) else list(allowed)
    shown = f"the experiment's {allowed['$PARAMETER']}" if isinstance(allowed, dict) else ", ".join(map(str, allowed))
    arguments = {"column": column, "value_set": values}
    return Rule(f"{column} is one of {shown}", "expect_column_values_to_be_in_set", arguments, severity)


def between(column: str, low: float | None = None, high: float | None = None, strict: bool = False) -> Rule:
    """Every value that is not null lies in the range."""
    arguments: dict[str, Any] = {"column": column}
    words = []
    if low is not None:
        arguments |= {"min_value": low} | ({"strict_min": True} if strict else {})
        words.append(f"{'above' if strict else 'at least'} {low:g}")
    if high is not None:
        arguments |= {"max_value": high} | ({"strict_max": True} if strict else {})
        words.append(f"{'below' if strict else 'at most'} {high:g}")
    return Rule(f"{column} is {' and '.join(words)}", "expect_column_values_to_be_between", arguments)


def ordered(low: str, high: str, strict: bool = False) -> Rule:
    """In every row with both values, `low` is not above `high`, or with `strict` below it."""
    arguments = {
        "column_A": high,
        "column_B": low,
        "or_equal": not strict,
        "ignore_row_if": "either_value_is_missing",
    }
    return Rule(f"{low} is {'below' if strict else 'not above'} {high}", _PAIR, arguments)


def matches(column: str, pattern: str, text: str) -> Rule:
    """Every value that is not null matches a pattern."""
    return Rule(f"{column} {text}", "expect_column_values_to_match_regex", {"column": column, "regex": pattern})


def sums_to_one(column: str) -> Rule:
    """The values of the experiment sum to 1."""
    arguments = {"column": column, "min_value": 1 - 1e-9, "max_value": 1 + 1e-9}
    return Rule(f"{column} sums to 1", "expect_column_sum_to_be_between", arguments)


def has_rows(severity: Severity = "critical") -> Rule:
    """The experiment has at least one row."""
    return Rule("there are rows", "expect_table_row_count_to_be_between", {"min_value": 1}, severity)


def mostly_true(column: str, expected: bool, share: float, text: str) -> Rule:
    """A flag has the expected value in at least this share of rows; always a warning."""
    arguments = {"column": column, "value_set": [expected], "mostly": share}
    return Rule(text, "expect_column_values_to_be_in_set", arguments, "warning")


def no_row(text: str, query: str, reads: Sequence[str] = ()) -> Rule:
    """A Spark SQL query over `{batch}` and the views of `reads` finds nothing."""
    arguments = {"unexpected_rows_query": " ".join(query.split())}
    return Rule(text, "unexpected_rows_expectation", arguments, reads=tuple(reads))
