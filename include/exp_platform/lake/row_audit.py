"""The rules that every table must pass before it becomes visible: schema, one experiment, grain, no null, no NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.errors import ContractViolation
from exp_platform.lake.tables import Table
from exp_platform.lake.types import arrow_type, spark_type

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

Frame = Any  # pyspark DataFrame or pa.Table
SAMPLE_ROWS = 5
FEW_ROWS = 50_000  # up to so many rows a query costs more than what it reads
_WIDER = {("int", "bigint"), ("smallint", "bigint"), ("smallint", "int"), ("float", "double")}


@dataclass(frozen=True)
class Finding:
    """The outcome of one expectation on one table; a failed critical expectation blocks publication."""

    expectation: str
    success: bool
    severity: Literal["critical", "warning"] = "critical"
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    sample: tuple[str, ...] = ()  # keys of some rows that break the expectation
    detail: str = ""

    @property
    def blocks(self) -> bool:
        """True when this finding forbids publication."""
        return not self.success and self.severity == "critical"


class AuditRefused(ContractViolation):
    """An audit found a broken rule and nothing was published; carries all findings for `ops.contract_results`."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


@dataclass(frozen=True)
class Scope:
    """The rows that one publication replaces: those of one experiment, and of one dt in a table with dt.

    A stream stands in the place of the experiment as `stream.<name>`.
    """

    experiment_id: str
    dt: date

    def keys(self, table: Table) -> dict[str, Any]:
        """Column -> the value that every published row must have in it."""
        return table.key_of(self.experiment_id) | ({"dt": self.dt} if table.has_dt else {})


@dataclass(frozen=True)
class Part:
    """A part of an experiment's rows, chosen by values of a partition column; the other rows stay in their files."""

    column: str
    values: frozenset[date]

    def holds(self) -> Column:
        """Condition that is true for the rows of the part."""
        from pyspark.sql import functions as F

        values = sorted(self.values)
        return F.coalesce(F.col(self.column).isin(*values), F.lit(False)) if values else F.lit(False)


# An audit gets all rows as readers will see them; with a part, the other rows have passed an earlier audit.
Audit = Callable[[Frame, Table, Part | None], Sequence[Finding]]


def refuse(table: Table, findings: Sequence[Finding]) -> None:
    """Raise AuditRefused when a critical expectation failed; its one sentence names all of them."""
    blocking = [f for f in findings if f.blocks]
    if not blocking:
        return
    reasons = "; ".join(_reason(f) for f in blocking)
    raise AuditRefused(
        f"{table.name}: {reasons}. Nothing was published; the earlier rows stay as they are "
        "(every finding is in ops.contract_results)",
        findings,
    )


def _reason(finding: Finding) -> str:
    count = "" if finding.unexpected_count is None else f" ({finding.unexpected_count} rows)"
    sample = f", for example {' | '.join(finding.sample[:3])}" if finding.sample else ""
    return f"{finding.expectation}{count}{sample}{': ' + finding.detail if finding.detail else ''}"


# --- Spark ---------------------------------------------------------------------------------------------------------


def conform_spark(frame: DataFrame, table: Table) -> DataFrame:
    """The frame with the declared columns in the declared order; one error reports every gap in the schema."""
    found = {f.name: f.dataType.simpleString() for f in frame.schema.fields}
    expected = {column: spark_type(kind) for column, kind in table.types.items()}
    _refuse_schema(table, found, expected, _WIDER)
    from pyspark.sql import functions as F

    return frame.select(
        *(F.col(c) if found[c] == expected[c] else F.col(c).cast(expected[c]).alias(c) for c in expected)
    )


def audit_spark(frame: DataFrame, table: Table, scope: Scope) -> tuple[int, list[Finding]]:
    """Number of rows and findings, from one aggregate over the grain; a sample is taken only for a broken rule."""
    from pyspark.sql import functions as F

    rules = _flat_rules(table, scope) | _nested_nulls(table) | nested_rules(table)
    names = list(rules)
    per_key = frame.groupBy(*table.grain).agg(
        F.count(F.lit(1)).alias("_rows"),
        *(F.count(F.when(rules[name], 1)).alias(f"_rule{i}") for i, name in enumerate(names)),
    )
    totals = per_key.agg(
        F.sum("_rows").alias("rows"),
        F.sum(F.when(F.col("_rows") > 1, F.col("_rows") - 1)).alias("repeated"),
        *(F.sum(f"_rule{i}").alias(f"_rule{i}") for i in range(len(names))),
    ).first()
    assert totals is not None
    rows = totals["rows"] or 0
    findings = [
        _finding(name, totals[f"_rule{i}"] or 0, rows, partial(_breaking, frame, rules[name], table))
        for i, name in enumerate(names)
    ]
    again = partial(_breaking, per_key, F.col("_rows") > 1, table)
    findings.append(_finding(_grain_rule(table), totals["repeated"] or 0, rows, again))
    return rows, findings


def audit_staged(
    frame: DataFrame,
    table: Table,
    scope: Scope,
    broken_inside: Mapping[str, int],
    *,
    whole: DataFrame | None,
    few: bool = False,
) -> tuple[int, list[Finding]]:
    """As `audit_spark`, for rows read back from their files; maps and lists are not read.

    Spark's Parquet reader is vectorised only without maps and lists. `broken_inside` has the number of rows that break
    each of `nested_rules`, counted while they were written. A required map or list can't be null, because both writers
    refuse that (tests/spark/lake/test_staging.py). The grain is checked on `whole`, all rows as readers will see them;
    None skips that check, for rows that come out of a group-by over the grain. Of `few` rows one query asks for all.
    """
    flat, nested = _flat_rules(table, scope), nested_rules(table)
    totals, keys = _counted(frame, table, list(flat.values()), whole, few=few and whole is frame)
    rows = totals["rows"] or 0
    broken = {name: totals[f"_rule{i}"] or 0 for i, name in enumerate(flat)}
    broken |= {name: broken_inside.get(name, 0) for name in nested}  # no entry where no task had a row to count
    findings = [
        _finding(name, broken[name], rows, partial(_breaking, frame, rule, table))
        for name, rule in (flat | nested).items()
    ]
    findings += [_finding(name, 0, rows, tuple) for name in _nested_nulls(table)]
    if whole is not None and keys is not None:
        sample = partial(_repeated, whole, table)
        findings.append(_finding(_grain_rule(table), keys["repeated"] or 0, keys["rows"] or 0, sample))
    return rows, findings


def _counted(
    frame: DataFrame, table: Table, rules: Sequence[Column], whole: DataFrame | None, *, few: bool
) -> tuple[Row, Row | None]:
    """Rows of the frame and how many break each rule; rows and repeated keys of `whole`. Of `few` rows in one query."""
    from pyspark.sql import functions as F

    number = F.count(F.lit(1))
    counts = [F.count_if(rule).alias(f"_rule{i}") for i, rule in enumerate(rules)]
    of_keys = [F.sum("_rows").alias("rows"), F.sum(F.col("_rows") - 1).alias("repeated")]
    if few:
        per_key = frame.groupBy(*table.grain).agg(number.alias("_rows"), *counts)
        both = per_key.agg(*of_keys, *(F.sum(f"_rule{i}").alias(f"_rule{i}") for i in range(len(rules)))).first()
        assert both is not None
        return both, both
    totals = frame.agg(number.alias("rows"), *counts).first()
    assert totals is not None
    if whole is None:
        return totals, None
    # A query over the grain alone: in one query the group-by would carry the columns of every rule.
    return totals, whole.groupBy(*table.grain).agg(number.alias("_rows")).agg(*of_keys).first()


def nested_rules(table: Table) -> dict[str, Column]:
    """Rule -> condition that breaks it, for the numbers inside maps."""
    from pyspark.sql import functions as F

    return {f"{name} is finite": _any_not_finite(F.map_values(name)) for name in maps_of_numbers(table)}


def broken_inside(batch: pa.RecordBatch, table: Table) -> dict[str, int]:
    """Rule of `nested_rules` -> number of a batch's rows that break it."""
    broken = {}
    for name in maps_of_numbers(table):
        offsets, numbers = batch.column(name).offsets.to_numpy(), batch.column(name).items
        finite = pc.fill_null(pc.is_finite(numbers), True).to_numpy(zero_copy_only=False)
        places = np.flatnonzero(~finite)
        mine = places[(places >= offsets[0]) & (places < offsets[-1])]
        broken[f"{name} is finite"] = len(np.unique(np.searchsorted(offsets, mine, side="right")))
    return broken


def maps_of_numbers(table: Table) -> list[str]:
    """The columns that are maps with a double for each key."""
    return [name for name, kind in table.types.items() if kind.startswith("map<") and kind.endswith(",double>")]


def _any_not_finite(values: Column) -> Column:
    """True when an array holds NaN or infinity.

    Spark orders NaN above infinity, so the two extremes tell; unlike `exists`, array_max and array_min are compiled.
    """
    from pyspark.sql import functions as F

    infinity = F.lit(float("inf"))
    return ~((F.array_max(values) < infinity) & (F.array_min(values) > -infinity))


def _nested_nulls(table: Table) -> dict[str, Column]:
    from pyspark.sql import functions as F

    return {f"{column} is never null": F.col(column).isNull() for column in table.required if _is_nested(table, column)}


def _flat_rules(table: Table, scope: Scope) -> dict[str, Column]:
    from pyspark.sql import functions as F

    rules: dict[str, Column] = {
        f"{column} is only {value}": ~F.col(column).eqNullSafe(F.lit(value))
        for column, value in scope.keys(table).items()
    }
    rules |= {
        f"{column} is never null": F.col(column).isNull()
        for column in _required(table, scope)
        if not _is_nested(table, column)
    }
    rules |= {
        f"{column} is finite": F.isnan(column) | (F.abs(column) == F.lit(float("inf")))
        for column, kind in table.types.items()
        if kind == "double"
    }
    return rules


def _is_nested(table: Table, column: str) -> bool:
    return table.types[column].startswith(("map<", "list<", "struct<"))


def _repeated(frame: DataFrame, table: Table) -> tuple[str, ...]:
    """Keys that more than one row has, up to five of them."""
    from pyspark.sql import functions as F

    per_key = frame.groupBy(*table.grain).agg(F.count(F.lit(1)).alias("_rows"))
    return _breaking(per_key, F.col("_rows") > 1, table)


def _breaking(frame: DataFrame, rule: Column, table: Table) -> tuple[str, ...]:
    """Keys of up to five rows for which the condition is true. Spark plans a query for them: only when they are due."""
    broken = frame.where(rule).select(*table.grain).limit(SAMPLE_ROWS)
    return tuple(_key(row.asDict()) for row in broken.collect())


# --- Arrow ---------------------------------------------------------------------------------------------------------


def conform_arrow(frame: pa.Table, table: Table) -> pa.Table:
    """The table with the declared columns, order and types; one error reports every gap in the schema."""
    found = {f.name: str(f.type) for f in frame.schema}
    expected = {column: str(arrow_type(kind)) for column, kind in table.types.items()}
    same = {
        c
        for c in found.keys() & expected.keys()
        if found[c] != expected[c] and _castable(frame.schema.field(c).type, arrow_type(table.types[c]))
    }
    _refuse_schema(table, {c: expected[c] if c in same else t for c, t in found.items()}, expected, set())
    schema = pa.schema([pa.field(c, arrow_type(kind)) for c, kind in table.types.items()])
    return frame.select(list(expected)).cast(schema)


def _castable(found: pa.DataType, expected: pa.DataType) -> bool:
    """True when the cast loses nothing: to another spelling of the same type, or to a wider number."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_large_string(found) or pa.types.is_dictionary(found):
        return bool(expected == pa.string())
    if pa.types.is_integer(found):
        return bool(pa.types.is_integer(expected) and found.bit_width <= expected.bit_width)
    if pa.types.is_floating(found):
        return bool(pa.types.is_floating(expected) and found.bit_width <= expected.bit_width)
    if pa.types.is_large_list(found) or pa.types.is_list(found):
        is_list = pa.types.is_list(expected)
        return is_list and (found.value_type == expected.value_type or _castable(found.value_type, expected.value_type))
    return bool(pa.types.is_timestamp(found) and pa.types.is_timestamp(expected) and found.tz == expected.tz)


def audit_arrow(frame: pa.Table, table: Table, scope: Scope) -> tuple[int, list[Finding]]:
    """Number of rows and findings of an Arrow table."""
    rows = frame.num_rows
    findings = []
    for name, broken in _arrow_rules(frame, table, scope).items():
        count = pc.sum(broken).as_py() or 0
        findings.append(_finding(name, count, rows, partial(_arrow_sample, frame.filter(broken), table)))
    per_key = frame.group_by(list(table.grain)).aggregate([([], "count_all")])
    again = per_key.filter(pc.greater(per_key["count_all"], 1))
    repeated = (pc.sum(again["count_all"]).as_py() or 0) - again.num_rows
    findings.append(_finding(_grain_rule(table), repeated, rows, lambda: _arrow_sample(again, table)))
    return rows, findings


def _arrow_rules(frame: pa.Table, table: Table, scope: Scope) -> dict[str, Any]:
    rules = {
        f"{column} is only {value}": pc.fill_null(pc.not_equal(frame[column], pa.scalar(value)), True)
        for column, value in scope.keys(table).items()
    }
    rules |= {f"{column} is never null": pc.is_null(frame[column]) for column in _required(table, scope)}
    rules |= {
        f"{column} is finite": pc.fill_null(pc.invert(pc.is_finite(frame[column])), False)
        for column, kind in table.types.items()
        if kind == "double"
    }
    rules |= {
        f"{column} is finite": _any_not_finite_inside(frame[column])
        for column, kind in table.types.items()
        if kind == "list<double>"
    }
    return rules


def _any_not_finite_inside(lists: pa.ChunkedArray) -> pa.Array:
    whole = lists.combine_chunks()
    broken = pc.list_parent_indices(whole).filter(pc.invert(pc.is_finite(pc.list_flatten(whole))))
    return pa.array(np.isin(np.arange(len(whole)), broken.to_numpy()))


def _arrow_sample(broken: pa.Table, table: Table) -> tuple[str, ...]:
    return tuple(_key(row) for row in broken.select(list(table.grain)).slice(0, SAMPLE_ROWS).to_pylist())


# --- both ----------------------------------------------------------------------------------------------------------


def _finding(name: str, broken: int, rows: int, sample: Callable[[], tuple[str, ...]]) -> Finding:
    percent = 100.0 * broken / rows if rows else 0.0
    return Finding(name, broken == 0, "critical", int(broken), percent, sample() if broken else ())


def _grain_rule(table: Table) -> str:
    return f"one row per {' × '.join(table.grain)}"


def _required(table: Table, scope: Scope) -> list[str]:
    return [column for column in table.required if column not in scope.keys(table)]


def _key(row: dict[str, Any]) -> str:
    return ", ".join(f"{column}={value}" for column, value in row.items() if column != "experiment_id")


def _refuse_schema(table: Table, found: dict[str, str], expected: dict[str, str], wider: set[tuple[str, str]]) -> None:
    gaps = [f"column '{c}' is missing ({expected[c]})" for c in expected if c not in found]
    gaps += [
        f"column '{c}' is {found[c]}, expected {expected[c]}"
        for c in expected
        if c in found and found[c] != expected[c] and (found[c], expected[c]) not in wider
    ]
    gaps += [f"column '{c}' is not declared" for c in found if c not in expected]
    if gaps:
        finding = Finding("schema as declared", False, detail="; ".join(gaps))
        raise AuditRefused(f"{table.name}: {'; '.join(gaps)}. Nothing was published", [finding])
