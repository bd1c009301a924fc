"""Fenced commits: a commit lands whole, or not at all when another writer has changed the same rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import And, BooleanExpression, EqualTo
from pyiceberg.table import Table as IcebergTable

from exp_platform.errors import FencedConflict
from exp_platform.lake.catalog import commit_again
from exp_platform.lake.clock import refuse_clock_behind
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.tables import Table
from exp_platform.lake.types import arrow_schema

_DAY_MS = 24 * 3600 * 1000
_LOST_RACE = ("exceptions.ValidationException", "exceptions.CommitFailedException")


@contextmanager
def fenced(table: Table, scope: Scope) -> Iterator[None]:
    """Turn the conflict errors of PyIceberg and of Iceberg's Java library into FencedConflict."""
    try:
        yield
    except (ValidationException, CommitFailedException) as error:
        raise _conflict(table, scope, str(error)) from error
    except Exception as error:
        text = str(error)
        if any(name in text for name in _LOST_RACE):
            cause = next(line for line in text.splitlines() if any(name in line for name in _LOST_RACE))
            raise _conflict(table, scope, cause.split("Exception: ")[-1]) from error
        raise


def _conflict(table: Table, scope: Scope, cause: str) -> FencedConflict:
    return FencedConflict(
        f"{table.name}: rows of {scope.experiment_id} were changed by another writer since this stage started "
        f"({cause.split(': [')[0].strip()}). Nothing was published; start the stage again"
    )


def row_filter(table: Table, scope: Scope) -> BooleanExpression:
    """PyIceberg's filter for the rows that a publication replaces."""
    terms = [EqualTo(column, value) for column, value in scope.keys(table).items()]
    return terms[0] if len(terms) == 1 else And(*terms)


def ensure_branch(handle: IcebergTable, snapshot_id: int, branch: str, days: int) -> None:
    """Create a branch at a snapshot, unless it exists; maintenance drops the branch after `days`."""
    if branch in handle.metadata.refs:
        return
    start = handle.snapshot_by_id(snapshot_id)
    assert start is not None
    # Iceberg counts a branch's age from its head snapshot, and the first head may be old already.
    age = max(int(time.time() * 1000) - start.timestamp_ms, 0) + days * _DAY_MS

    def create(current: IcebergTable) -> None:
        if branch in current.metadata.refs:  # another attempt of this run made the branch: it is not moved back
            return
        current.manage_snapshots().create_branch(snapshot_id, branch, max_ref_age_ms=age).commit()

    commit_again(handle, create)


def overwrite_arrow(
    handle: IcebergTable, frame: pa.Table, table: Table, scope: Scope, branch: str, summary: dict[str, str]
) -> None:
    """Replace the scope's rows in one commit; the handle was loaded at the stage's start and is the fence."""
    refuse_clock_behind(handle)
    with fenced(table, scope), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Delete operation did not match")
        handle.overwrite(
            frame.cast(arrow_schema(table)),  # marks the required columns as required, as PyIceberg demands
            overwrite_filter=row_filter(table, scope),
            snapshot_properties=summary,
            branch=branch,
        )
