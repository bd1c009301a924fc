"""Tags that keep a run's event snapshots readable, so that the run can be reproduced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import commit_again, load_handle
from exp_platform.lake.tables.names import ASSIGNMENTS, ATTRIBUTES, EXPOSURES, OUTCOMES
from exp_platform.lake.tables.streams import STREAM_TABLES

# Only event tables are pinned: all other tables are recomputed from them. A tag costs about 1 kB at each later commit.
PINNED_TABLES = (ASSIGNMENTS, EXPOSURES, OUTCOMES, ATTRIBUTES, *STREAM_TABLES)
_DAY_MS = 24 * 3600 * 1000


def tag_of_run(experiment_id: str, run_id: str) -> str:
    """Name of a run's tag; a hash, because run ids hold characters that tags can't."""
    return f"run_{hashlib.sha256(f'{experiment_id}/{run_id}'.encode()).hexdigest()[:12]}"


def pin_inputs(
    project: Project,
    experiment_id: str,
    run_id: str,
    snapshots: Mapping[str, int],
    retain_days: int | None,
    now: datetime,
    catalog: Catalog | None = None,
) -> list[str]:
    """Tag the event snapshots among `snapshots` (table -> id) until now + retain_days, or without limit for None."""
    tag = tag_of_run(experiment_id, run_id)
    kept = [table for table in PINNED_TABLES if table in snapshots]
    for table in kept:
        handle = load_handle(project, table, catalog)
        age = _age_to_keep(handle, snapshots[table], retain_days, now)
        if not _is_kept(handle, tag, snapshots[table], age):
            commit_again(
                handle,
                lambda h, t=table, a=age: h.manage_snapshots().create_tag(snapshots[t], tag, max_ref_age_ms=a).commit(),  # type: ignore[misc]
            )
            _require_kept(handle, table, tag, snapshots[table])
    return kept


def _require_kept(handle: IcebergTable, table: str, tag: str, snapshot_id: int) -> None:
    """Read the tag back by another handle: a catalog was seen that accepts tags and keeps none."""
    ref = handle.catalog.load_table(handle.name()).metadata.refs.get(tag)
    if ref is None or ref.snapshot_id != snapshot_id:
        raise ConfigError(
            f"the catalog accepted the tag {tag} of {table} and does not keep it, so that no run could be reproduced "
            "after expiry: use a catalog that passes `exp doctor --deep`"
        )


def _age_to_keep(handle: IcebergTable, snapshot_id: int, retain_days: int | None, now: datetime) -> int | None:
    """The age in ms that the tag may reach. Iceberg counts it from the snapshot, which may be old already."""
    if retain_days is None:
        return None
    snapshot = handle.snapshot_by_id(snapshot_id)
    born = snapshot.timestamp_ms if snapshot else 0
    return max(int(now.timestamp() * 1000) - born, 0) + retain_days * _DAY_MS


def _is_kept(handle: IcebergTable, tag: str, snapshot_id: int, age: int | None) -> bool:
    """True when the tag exists and lasts at most a day less: a commit for some hours more is not worth it."""
    ref = handle.metadata.refs.get(tag)
    if ref is None or ref.snapshot_id != snapshot_id:
        return False
    if ref.max_ref_age_ms is None or age is None:
        return ref.max_ref_age_ms is None
    return bool(ref.max_ref_age_ms > age - _DAY_MS)
