"""Spark writes rows to a staging branch that nobody reads; a later fenced commit moves their files to main.

Several tables can be written and audited first and then become visible one right after the other; a refused run leaves
nothing visible. The audit reads a few flat columns back from the files, so no result has to stay in memory. Iceberg's
plain append never conflicts, and two stale writers could both add the same events; the commit here is fenced.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pyiceberg.table import Table as IcebergTable

from exp_platform.errors import FencedConflict
from exp_platform.lake.arrow_files import Finish, append_files, write_files
from exp_platform.lake.catalog import CATALOG, commit_again
from exp_platform.lake.engines import ensure_branch, fenced
from exp_platform.lake.publication import BACKFILL_BRANCH_DAYS, MAIN, Published
from exp_platform.lake.row_audit import Part, Scope, conform_spark, maps_of_numbers
from exp_platform.lake.rows import count_rows, read_spark
from exp_platform.lake.tables import Table, bucket_of, dates_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Mode = Literal["overwrite", "append"]


@dataclass(frozen=True)
class Staged:
    """Rows of one experiment and table that are written to a staging branch and not yet visible."""

    table: Table
    scope: Scope
    handle: IcebergTable
    fence: int
    branch: str
    start: int  # the snapshot before the staged rows: the fence, or the fence without the part's rows
    snapshot_id: int
    rows: int
    session: SparkSession
    broken_inside: Mapping[str, int] = field(default_factory=dict)  # rule of a nested column -> rows that break it
    part: Part | None = None  # the rows that are replaced; None: all of the experiment's rows

    def frame(self) -> DataFrame:
        """The staged rows without the rows that stay."""
        reader = self.session.read.option("start-snapshot-id", self.start).option("end-snapshot-id", self.snapshot_id)
        return reader.table(f"{CATALOG}.{self.table.name}")

    @property
    def rows_that_stay(self) -> int:
        """Number of the experiment's rows that are not replaced."""
        return 0 if self.part is None else count_rows(self.handle, self.start, self.scope.keys(self.table))

    def beside_what_stays(self) -> DataFrame:
        """All of the experiment's rows as readers will see them: the staged rows and the rows that stay."""
        if self.part is None:
            return self.frame()
        return read_spark(self.session, self.table, self.snapshot_id, self.scope.keys(self.table))


def stage(
    frame: DataFrame,
    table: Table,
    scope: Scope,
    handle: IcebergTable,
    fence: int,
    *,
    finish: Finish | None = None,
    part: Part | None = None,
) -> Staged:
    """Write the rows to a new staging branch, which begins at the fence.

    The frame must be laid out as the table's files are (see `laid_out`), so that Iceberg need not shuffle and sort it
    again. Spark writes flat rows, without Python. Arrow writes maps of numbers and checks them on the way: reading
    them back would cost more than all other columns together. `finish` is the last step from the frame's rows to the
    table's, applied while they are written; with `part` the rows replace only the part's rows.
    """
    if finish or part or maps_of_numbers(table):
        return _stage_by_arrow(frame, table, scope, handle, fence, finish, part)
    session, branch = frame.sparkSession, f"staging_{uuid.uuid4().hex}"
    ensure_branch(handle, fence, branch, days=1)  # maintenance drops what a killed run leaves behind
    try:
        writer = conform_spark(frame, table).writeTo(f"{CATALOG}.{table.name}.branch_{branch}")
        writer.option("use-table-distribution-and-ordering", "false").option("fanout-enabled", "true").append()
        snapshot_id, rows = _head(handle, branch, fence)
        return Staged(table, scope, handle, fence, branch, fence, snapshot_id, rows, session)
    except BaseException:
        drop_branch(handle, branch)
        raise


def _stage_by_arrow(
    frame: DataFrame,
    table: Table,
    scope: Scope,
    handle: IcebergTable,
    fence: int,
    finish: Finish | None,
    part: Part | None,
) -> Staged:
    session, branch = frame.sparkSession, f"staging_{uuid.uuid4().hex}"
    rows = conform_spark(frame, table) if finish is None else frame
    written = write_files(rows, table, handle, finish)
    if written.nulls:
        raise NullRefused(f"{table.name}: null in {', '.join(sorted(written.nulls))}")
    ensure_branch(handle, fence, branch, days=1)
    try:
        start = fence if part is None else _without_part(session, table, scope, handle, branch, part)
        commit_again(handle, lambda current: append_files(current, written, branch))
        snapshot_id, added = _head(handle, branch, start)
        broken = written.broken_inside
        return Staged(table, scope, handle, fence, branch, start, snapshot_id, added, session, broken, part)
    except BaseException:
        drop_branch(handle, branch)
        raise


class NullRefused(Exception):
    """A required column has a null; `publish.nulls_explained` finds the rows."""


def is_null_refused(error: Exception) -> bool:
    """True when a write stopped at a null in a required column."""
    return isinstance(error, NullRefused) or "NOT_NULL_ASSERT_VIOLATION" in str(error)


def laid_out(frame: DataFrame, table: Table) -> DataFrame:
    """The frame with each of the table's buckets in one task; else every task would write a file for every bucket.

    The result of storage-partitioned scans and joins is laid out like this already, as its plan shows. The rows are
    shuffled where an input's files have another partitioning, or where AQE may still change the plan.
    """
    from pyspark.sql import functions as F

    buckets = [bucket for bucket in map(bucket_of, table.partition) if bucket is not None]
    if not buckets:
        frame = frame.repartition(1)  # the few rows of a small table: one file
    elif not re.match(r"keygroupedpartitioning\(.*bucket", _partitioning(frame)):
        ((count, column),) = buckets
        # Shuffled by bucket number, not by its hash: two buckets in one task would leave another task idle.
        bucket = F.call_function(f"{CATALOG}.system.bucket", F.lit(count), F.col(column))
        frame = frame.repartitionById(count, bucket)
    # Sorted by date, a task writes one file after the other; with a file open for each date it would hold all rows.
    dates = dates_of(table)
    return frame.sortWithinPartitions(*dates, "experiment_id") if dates else frame


def commit_staged(staged: Staged, mode: Mode, properties: Mapping[str, str], branch: str = MAIN) -> Published:
    """Move the staged files to a branch in one fenced commit, replacing or extending the experiment's rows."""
    publish_id, rows = uuid.uuid4().hex, staged.rows + staged.rows_that_stay
    if branch != MAIN:
        ensure_branch(staged.handle, staged.fence, branch, BACKFILL_BRANCH_DAYS)
    java = _java_table(staged.session, staged.table)
    same_experiment = _of_experiment(staged.session, staged.table, staged.scope)
    commit = java.newOverwrite().toBranch(branch)
    if mode == "overwrite":
        commit = commit.overwriteByRowFilter(_replaced(staged.session, staged.table, staged.scope, staged.part))
    commit = commit.validateFromSnapshot(staged.fence).conflictDetectionFilter(same_experiment)
    commit = commit.validateNoConflictingData().validateNoConflictingDeletes()
    if staged.snapshot_id != staged.start:
        files = java.snapshot(staged.branch).addedDataFiles(java.io()).iterator()
        while files.hasNext():
            commit.addFile(files.next())
    summary = dict(properties) | {
        "experiment_id": staged.scope.experiment_id,
        "rows": str(rows),
        "mode": mode,
        "publish_id": publish_id,
    }
    for key, value in summary.items():
        commit.set(key, value)
    with fenced(staged.table, staged.scope):
        commit.commit()
    staged.handle.refresh()
    for snapshot in staged.handle.metadata.snapshots:
        if snapshot.summary and snapshot.summary.additional_properties.get("publish_id") == publish_id:
            return Published(snapshot.snapshot_id, rows)
    raise FencedConflict(f"{staged.table.name}: the commit is not in the table's history; start the stage again")


def discard(staged: Staged) -> None:
    """Drop the staging branch; maintenance later removes files that were not committed."""
    drop_branch(staged.handle, staged.branch)


def drop_branch(handle: IcebergTable, branch: str) -> None:
    """Remove a branch, if it exists."""
    handle.refresh()
    if branch in handle.metadata.refs:
        commit_again(handle, lambda current: current.manage_snapshots().remove_branch(branch).commit())


def _partitioning(frame: DataFrame) -> str:
    """How Spark's physical plan says that the frame's rows are divided, in lower case."""
    plan = frame._jdf.queryExecution().executedPlan()
    return str(plan.outputPartitioning().toString()).lower()


def _head(handle: IcebergTable, branch: str, start: int) -> tuple[int, int]:
    """The latest snapshot of a branch, and the number of rows that it added; 0 when the branch is still at `start`."""
    handle.refresh()
    snapshot = handle.snapshot_by_name(branch)
    assert snapshot is not None
    if snapshot.snapshot_id == start or snapshot.summary is None:
        return snapshot.snapshot_id, 0
    return snapshot.snapshot_id, int(snapshot.summary.additional_properties.get("added-records", 0))


def _without_part(
    session: SparkSession, table: Table, scope: Scope, handle: IcebergTable, branch: str, part: Part
) -> int:
    """Remove the part's files from the branch and return its snapshot: the rows that stay."""
    emptied = _java_table(session, table).newDelete().deleteFromRowFilter(_replaced(session, table, scope, part))
    emptied.toBranch(branch).commit()
    handle.refresh()
    left = handle.snapshot_by_name(branch)
    assert left is not None
    return int(left.snapshot_id)


def _replaced(session: SparkSession, table: Table, scope: Scope, part: Part | None) -> Any:
    """Iceberg's (Java) filter for the rows that a publication replaces."""
    of_experiment = _of_experiment(session, table, scope)
    if part is None:
        return of_experiment
    expressions = _expressions(session)
    days = session._jvm.java.util.ArrayList()  # type: ignore[union-attr]
    for value in sorted(part.values):
        days.add(value.isoformat())
    return getattr(expressions, "and")(of_experiment, getattr(expressions, "in")(part.column, days))


def _of_experiment(session: SparkSession, table: Table, scope: Scope) -> Any:
    ((column, value),) = table.key_of(scope.experiment_id).items()
    return _expressions(session).equal(column, value)


def _expressions(session: SparkSession) -> Any:
    return session._jvm.org.apache.iceberg.expressions.Expressions  # type: ignore[union-attr]


def _java_table(session: SparkSession, table: Table) -> Any:
    loader = session._jvm.org.apache.iceberg.spark.Spark3Util  # type: ignore[union-attr]
    return loader.loadIcebergTable(session._jsparkSession, f"{CATALOG}.{table.name}")
