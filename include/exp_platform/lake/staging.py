"""Several tables that become visible one right after the other, once all of them are written and audited.

`publish` handles one table: it keeps the result while it audits it. Here the files are written first, to a branch
that nobody reads; a later commit moves them to main without touching a row. A run that is refused leaves nothing.
Iceberg's own append never conflicts, so that two stale writers would both add the same events; this one is fenced.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pyiceberg.table import Table as IcebergTable

from exp_platform.errors import FencedConflict
from exp_platform.lake.audit import Scope, conform_spark
from exp_platform.lake.catalog import CATALOG, commit_again
from exp_platform.lake.engines import ensure_branch, fenced
from exp_platform.lake.publish import Published
from exp_platform.lake.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Mode = Literal["overwrite", "append"]


@dataclass(frozen=True)
class Staged:
    """Rows of one experiment and table, written but not visible."""

    table: Table
    scope: Scope
    handle: IcebergTable
    fence: int
    branch: str
    snapshot_id: int
    rows: int
    session: SparkSession

    def frame(self) -> DataFrame:
        """The staged rows alone."""
        reader = self.session.read.option("start-snapshot-id", self.fence).option("end-snapshot-id", self.snapshot_id)
        return reader.table(f"{CATALOG}.{self.table.name}")


@dataclass(frozen=True)
class StagedBatch:
    """Staged rows and how they are to become visible; `properties` go into the snapshot's summary."""

    staged: Staged
    mode: Mode
    inputs: Mapping[str, int | str]
    properties: Mapping[str, str]


def stage(frame: DataFrame, table: Table, scope: Scope, handle: IcebergTable, fence: int) -> Staged:
    """Write the rows to a branch of their own, which begins at the fence.

    The frame comes laid out as the table's files are: an exchange and a sort of its own would double the work.
    """
    session, branch = frame.sparkSession, f"staging_{uuid.uuid4().hex}"
    ensure_branch(handle, fence, branch, days=1)  # maintenance drops what a killed run leaves behind
    try:
        writer = conform_spark(frame, table).writeTo(f"{CATALOG}.{table.name}.branch_{branch}")
        writer.option("use-table-distribution-and-ordering", "false").option("fanout-enabled", "true").append()
        handle.refresh()
        staged = handle.snapshot_by_name(branch)
    except BaseException:
        drop_branch(handle, branch)
        raise
    assert staged is not None
    added = 0
    if staged.snapshot_id != fence and staged.summary is not None:
        added = int(staged.summary.additional_properties.get("added-records", 0))
    return Staged(table, scope, handle, fence, branch, staged.snapshot_id, added, session)


def commit_staged(staged: Staged, mode: Mode, properties: Mapping[str, str]) -> Published:
    """Move the staged files to main in one fenced commit, replacing or extending the experiment's rows."""
    publish_id = uuid.uuid4().hex
    java = _java_table(staged)
    expressions = staged.session._jvm.org.apache.iceberg.expressions.Expressions  # type: ignore[union-attr]
    same_experiment = expressions.equal("experiment_id", staged.scope.experiment_id)
    commit = java.newOverwrite()
    if mode == "overwrite":
        commit = commit.overwriteByRowFilter(same_experiment)
    commit = commit.validateFromSnapshot(staged.fence).conflictDetectionFilter(same_experiment)
    commit = commit.validateNoConflictingData().validateNoConflictingDeletes()
    if staged.snapshot_id != staged.fence:
        files = java.snapshot(staged.branch).addedDataFiles(java.io()).iterator()
        while files.hasNext():
            commit.addFile(files.next())
    summary = dict(properties) | {
        "experiment_id": staged.scope.experiment_id,
        "rows": str(staged.rows),
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
            return Published(snapshot.snapshot_id, staged.rows)
    raise FencedConflict(f"{staged.table.name}: the commit is not in the table's history; start the stage once more")


def discard(staged: Staged) -> None:
    """Forget the branch; files that were not committed are orphans from now on."""
    drop_branch(staged.handle, staged.branch)


def drop_branch(handle: IcebergTable, branch: str) -> None:
    """Remove a branch if it is there."""
    handle.refresh()
    if branch in handle.metadata.refs:
        commit_again(handle, lambda current: current.manage_snapshots().remove_branch(branch).commit())


def _java_table(staged: Staged) -> Any:
    jvm = staged.session._jvm
    assert jvm is not None
    return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(
        staged.session._jsparkSession, f"{CATALOG}.{staged.table.name}"
    )
