"""Check a suite's rules on an Arrow table without Great Expectations, for stages that build no Spark session.

Importing Great Expectations takes 5 to 8 seconds, several times as long as such a stage needs for all its work. A test
compares every rule here with Great Expectations' own result on the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.lake.row_audit import SAMPLE_ROWS, Finding
from exp_platform.lake.tables import Table
from exp_platform.quality.rule import Rule

Arguments = Mapping[str, Any]


def check_arrow(frame: pa.Table, table: Table, rule: Rule) -> Finding:
    """The outcome of one rule; a rule that crashed blocks whatever its severity, because its result is unknown."""
    try:
        return _outcome(frame, table, rule)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(rule.text, False, "critical", detail=f"the check itself failed: {reason[:300]}")


def _outcome(frame: pa.Table, table: Table, rule: Rule) -> Finding:
    if rule.kind in _WHOLE_TABLE:
        success, detail = _WHOLE_TABLE[rule.kind](frame, rule.arguments)
        return Finding(rule.text, success, rule.severity, detail="" if success else detail)
    broken = pc.fill_null(_BROKEN[rule.kind](frame, rule.arguments), False)
    count = int(pc.sum(broken).as_py() or 0)
    looked_at = frame.num_rows - int(pc.sum(_is_null(frame, rule)).as_py() or 0)
    percent = 100 * count / looked_at if looked_at else 0.0
    success = count <= (1 - rule.arguments.get("mostly", 1.0)) * looked_at
    sample = () if success else _sample(frame.filter(broken), table)
    return Finding(rule.text, success, rule.severity, count, percent, sample)


def supports(rule: Rule) -> bool:
    """True when the rule can be checked on an Arrow table."""
    return rule.kind in _BROKEN or rule.kind in _WHOLE_TABLE


def _not_in_set(frame: pa.Table, arguments: Arguments) -> pa.Array:
    column = frame[arguments["column"]]
    allowed = pa.array(arguments["value_set"], type=column.type)
    return pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=allowed)))


def _not_between(frame: pa.Table, arguments: Arguments) -> pa.Array:
    column = frame[arguments["column"]]
    broken = pc.is_nan(column) if pa.types.is_floating(column.type) else pc.equal(column, None)
    if (low := arguments.get("min_value")) is not None:
        below = pc.less_equal if arguments.get("strict_min") else pc.less
        broken = pc.or_kleene(broken, below(column, low))
    if (high := arguments.get("max_value")) is not None:
        above = pc.greater_equal if arguments.get("strict_max") else pc.greater
        broken = pc.or_kleene(broken, above(column, high))
    return broken


def _not_ordered(frame: pa.Table, arguments: Arguments) -> pa.Array:
    high, low = frame[arguments["column_A"]], frame[arguments["column_B"]]
    return pc.less(high, low) if arguments["or_equal"] else pc.less_equal(high, low)


def _not_matching(frame: pa.Table, arguments: Arguments) -> pa.Array:
    column = frame[arguments["column"]]
    pattern = re.compile(arguments["regex"])
    values = [v for v in pc.unique(column).to_pylist() if v is not None and not pattern.search(v)]
    return pc.is_in(column, value_set=pa.array(values, type=column.type))


def _wrong_length(frame: pa.Table, arguments: Arguments) -> pa.Array:
    return pc.less(pc.utf8_length(frame[arguments["column"]]), arguments["min_value"])


def _has_rows(frame: pa.Table, arguments: Arguments) -> tuple[bool, str]:
    return frame.num_rows >= arguments["min_value"], f"found {frame.num_rows} rows"


def _sums(frame: pa.Table, arguments: Arguments) -> tuple[bool, str]:
    column = frame[arguments["column"]]
    if column.null_count == len(column) and frame.num_rows:
        return True, "no row has a value: nothing is to be summed"
    total = pc.sum(column).as_py() or 0.0
    return arguments["min_value"] <= total <= arguments["max_value"], f"found {total:g}"


_BROKEN: dict[str, Callable[[pa.Table, Arguments], pa.Array]] = {
    "expect_column_values_to_be_in_set": _not_in_set,
    "expect_column_values_to_be_between": _not_between,
    "expect_column_pair_values_a_to_be_greater_than_b": _not_ordered,
    "expect_column_values_to_match_regex": _not_matching,
    "expect_column_value_lengths_to_be_between": _wrong_length,
}
_WHOLE_TABLE: dict[str, Callable[[pa.Table, Arguments], tuple[bool, str]]] = {
    "expect_table_row_count_to_be_between": _has_rows,
    "expect_column_sum_to_be_between": _sums,
}


def _is_null(frame: pa.Table, rule: Rule) -> pa.Array:
    """True for rows that the rule ignores because one of its columns is null."""
    columns = [rule.arguments[key] for key in ("column", "column_A", "column_B") if key in rule.arguments]
    missing = pc.is_null(frame[columns[0]])
    for column in columns[1:]:
        missing = pc.or_(missing, pc.is_null(frame[column]))
    return missing


def _sample(broken: pa.Table, table: Table) -> tuple[str, ...]:
    rows = broken.select(list(table.grain)).slice(0, SAMPLE_ROWS).to_pylist()
    return tuple(", ".join(f"{c}={v}" for c, v in row.items() if c != "experiment_id") for row in rows)
