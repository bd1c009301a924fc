"""Read and replace rows by key in the platform's own small tables (ops.*)."""

from __future__ import annotations

import warnings
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.clock import refuse_clock_behind
from exp_platform.lake.filters import matching
from exp_platform.lake.row_audit import conform_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema, to_arrow


def read_rows(
    handle: IcebergTable, where: BooleanExpression | dict[str, Any], limit: int | None = None
) -> list[dict[str, Any]]:
    """The rows of a small table as dictionaries."""
    row_filter = matching(where) if isinstance(where, dict) else where
    return list(handle.scan(row_filter=row_filter, limit=limit).to_arrow().to_pylist())


def overwrite_rows(
    handle: IcebergTable, name: str, key: dict[str, Any], rows: list[dict[str, Any]], **properties: str
) -> None:
    """Replace the rows of a key in one commit, which fails when the table has changed since the handle was loaded."""
    frame = conform_arrow(to_arrow(TABLES[name], rows), TABLES[name])
    refuse_clock_behind(handle)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Delete operation did not match")
        handle.overwrite(_required(frame, name), overwrite_filter=matching(key), snapshot_properties=properties)


def replace_rows(
    project: Project,
    name: str,
    key: dict[str, Any],
    rows: list[dict[str, Any]],
    catalog: Catalog | None = None,
    attempts: int = 10,
) -> None:
    """Replace the rows of a key; tried again when another writer has changed the table meanwhile."""
    for attempt in range(attempts):
        try:
            overwrite_rows(load_handle(project, name, catalog), name, key, rows)
            return
        except (ValidationException, CommitFailedException):
            if attempt + 1 == attempts:
                raise


def _required(frame: pa.Table, name: str) -> pa.Table:
    return frame.cast(arrow_schema(TABLES[name]))
