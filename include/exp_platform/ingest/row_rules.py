"""The row-level rules of a contract, read from its JSON schema: name of the rule -> condition that breaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from exp_platform.ingest.mapping import unparsed

if TYPE_CHECKING:
    from pyspark.sql import Column

CORRUPT = "_corrupt"  # column with a line of a csv or json file that can't be parsed as a row
RULES_VERSION = 1  # raise it when the code judges rows differently: every file is then read again
# Years 1 to 9999: a time outside has another unit, such as nanoseconds, and Python's dates can't hold it.
FIRST_MICROS, END_MICROS = -62_135_596_800_000_000, 253_402_300_800_000_000


def row_rules(
    schema: Mapping[str, Any],
    experiment_id: str | None,
    live_variants: Sequence[str] | None,
    present: Sequence[str],
) -> dict[str, Column]:
    """Rule -> condition that is true for a row that breaks the rule, and never null.

    Without an experiment id, or without variants, rows of every experiment and arm are taken: those of a stream.
    `present` names the columns of the frame; only sources of text have `_unparsed_<column>` and `_corrupt` columns.
    """
    rules: dict[str, Column] = {}
    required = set(schema["required"])
    for column, spec in schema["properties"].items():
        if spec.get("x-optional"):
            continue
        value = F.col(column)
        known = value.isNotNull()
        text = unparsed(column)
        if text in present:
            rules[f"unparseable_{column}"] = F.col(text).isNotNull()
        if column in required:
            missing = value.isNull()
            rules[f"null_{column}"] = missing & F.col(text).isNull() if text in present else missing
        if column == "experiment_id" and experiment_id is not None:
            rules["other_experiment"] = known & (value != F.lit(experiment_id))
            continue
        if spec.get("minLength"):
            rules[f"empty_{column}"] = known & (value == F.lit(""))
        if "enum" in spec:
            rules[f"unknown_{column}"] = known & ~value.isin(*spec["enum"])
        if spec.get("x-must-be") == "variant" and live_variants is not None:
            rules["unknown_variant"] = known & (value != F.lit("")) & ~value.isin(*live_variants)
        if spec.get("format") == "date-time":
            micros = F.unix_micros(value)
            rules[f"out_of_range_{column}"] = known & ((micros < FIRST_MICROS) | (micros >= END_MICROS))
        if spec.get("x-finite"):
            rules[f"non_finite_{column}"] = known & (F.isnan(value) | (F.abs(value) == F.lit(float("inf"))))
    if CORRUPT in present:
        readable = F.col(CORRUPT).isNull()
        return {"unparseable_row": ~readable} | {name: readable & broken for name, broken in rules.items()}
    return rules


def breaks_any(rules: Mapping[str, Column]) -> Column:
    """True when a row breaks at least one rule."""
    return reduce(or_, rules.values())
