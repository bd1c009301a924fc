"""The outcome of reading a source: one frame of mapped rows, or the problems of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exp_platform.ingest.problems import Problem

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Columns beside the contract's: the row's file as a URL, then as a number; the source's row as JSON, in a preview.
URI, FILE, SHOWN = "_source_uri", "_file", "_source_row"


@dataclass
class ReadResult:
    """The read rows: contract columns, `_unparsed_<column>`, `_corrupt`, and `_file`, the index of the row's file."""

    frame: DataFrame | None = None
    rows: dict[str, int] = field(default_factory=dict)  # path -> number of rows, for files with a footer
    problems: list[Problem] = field(default_factory=list)
    extra_columns: dict[str, list[str]] = field(default_factory=dict)  # column outside the contract -> its files


@dataclass(frozen=True)
class Group:
    """Files that are read with one schema."""

    frame: DataFrame
    paths: tuple[str, ...]
    nanoseconds: frozenset[str] = frozenset()
