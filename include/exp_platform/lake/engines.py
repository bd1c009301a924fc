"""One fenced commit: it lands whole, or not at all when somebody else was there first."""

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
from exp_platform.lake.audit import Scope
from exp_platform.lake.catalog import commit_again
from exp_platform.lake.tables import Table
from exp_platform.lake.types import arrow_schema

_DAY_MS = 24 * 3600 * 1000
_LOST_RACE = ("exceptions.ValidationException", "exceptions.CommitFailedException")


@contextmanager
def fenced(table: Table, scope: Scope) -> Iterator[None]:
    """Turn every engine's way of saying `you are stale` into FencedConflict."""
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
        f"({cause.split(': [')[0].strip()}). Nothing was published; start the stage once more"
    )


def row_filter(table: Table, scope: Scope) -> BooleanExpression:
    """The rows that a publication replaces, for PyIceberg."""
    terms = [EqualTo(column, value) for column, value in scope.keys(table).items()]
    return terms[0] if len(terms) == 1 else And(*terms)


def ensure_branch(handle: IcebergTable, snapshot_id: int, branch: str, days: int) -> None:
    """A branch that starts at a snapshot and that maintenance drops after some days."""
    if branch in handle.metadata.refs:
        return
    start = handle.snapshot_by_id(snapshot_id)
    assert start is not None
    # Iceberg counts the age from the snapshot at the branch's head, and the first one may be old already.
    age = max(int(time.time() * 1000) - start.timestamp_ms, 0) + days * _DAY_MS

    def create(current: IcebergTable) -> None:
        if branch in current.metadata.refs:  # another attempt of the same run made it: it is not moved back
            return
        current.manage_snapshots().create_branch(snapshot_id, branch, max_ref_age_ms=age).commit()

    commit_again(handle, create)


def overwrite_arrow(
    handle: IcebergTable, frame: pa.Table, table: Table, scope: Scope, branch: str, summary: dict[str, str]
) -> None:
    """Replace the scope's rows; the handle, loaded at the stage's start, is the fence."""
    with fenced(table, scope), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Delete operation did not match")
        handle.overwrite(
            frame.cast(arrow_schema(table)),  # required columns are declared as such
            overwrite_filter=row_filter(table, scope),
            snapshot_properties=summary,
            branch=branch,
        )
