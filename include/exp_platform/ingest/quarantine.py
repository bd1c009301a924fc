"""Entries of `ops.quarantine`, one per file, distinct refused row and broken rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from exp_platform.ingest.events import path_of
from exp_platform.ingest.mapping import unparsed
from exp_platform.ingest.row_rules import CORRUPT, breaks_any

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEY = ("experiment_id", "dataset", "source_file", "row_hash", "rule")


def refused_rows(
    rows: DataFrame, rules: Mapping[str, Column], types: Mapping[str, str], paths: Sequence[str]
) -> DataFrame:
    """One row per file, distinct refused row and broken rule: source_file, row_hash, rule, row, count.

    `row` is JSON of the contract columns; a text that could not be parsed is shown as it was written.
    """
    broken = F.filter(F.array(*(F.when(c, F.lit(name)) for name, c in rules.items())), lambda name: name.isNotNull())
    as_json = F.to_json(F.struct(*row_fields(types, rows.columns)), {"ignoreNullFields": "false"})
    refused = rows.where(breaks_any(rules)).select(
        path_of(paths).alias("source_file"), as_json.alias("row"), broken.alias("rules")
    )
    counted = refused.groupBy("source_file", "row", "rules").agg(F.count(F.lit(1)).alias("count"))
    return counted.select(
        "source_file", F.sha2("row", 256).alias("row_hash"), F.explode("rules").alias("rule"), "row", "count"
    )


def row_fields(types: Mapping[str, str], present: Sequence[str]) -> list[Column]:
    """The contract columns as JSON fields: times with microseconds, and the unparsed text where there is one."""
    fields = []
    for column, kind in types.items():
        value = F.col(column)
        if kind == "timestamptz":
            value = F.date_format(value, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'")
        if unparsed(column) in present:
            value = F.coalesce(value.cast("string"), F.col(unparsed(column)))
        fields.append(value.alias(column))
    if CORRUPT in present:
        fields.append(F.col(CORRUPT).alias("corrupt_line"))
    return fields


def entries(refused: DataFrame, experiment_id: str, dataset: str, run_id: str, now: datetime) -> DataFrame:
    """The refused rows of this run as rows of `ops.quarantine`."""
    return refused.select(
        F.lit(experiment_id).alias("experiment_id"),
        F.lit(dataset).alias("dataset"),
        "source_file",
        "row_hash",
        "rule",
        "row",
        F.lit(run_id).alias("first_run_id"),
        F.lit(now).alias("first_seen_at"),
        "count",
    )


def keep_first_seen(found: DataFrame, earlier: DataFrame) -> DataFrame:
    """The entries of this run; an entry of an earlier run keeps its first_run_id and first_seen_at."""
    before = earlier.select(
        *KEY, F.col("first_run_id").alias("_run_before"), F.col("first_seen_at").alias("_seen_before")
    )
    return found.join(before, list(KEY), "left").select(
        *KEY,
        "row",
        F.coalesce("_run_before", "first_run_id").alias("first_run_id"),
        F.coalesce("_seen_before", "first_seen_at").alias("first_seen_at"),
        "count",
    )
