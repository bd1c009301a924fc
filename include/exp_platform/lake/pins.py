"""Tags that keep a run's event snapshots readable, so that the run can be recomputed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pyiceberg.catalog import Catalog

from exp_platform.config.load import Project
from exp_platform.lake.catalog import commit_again, load_handle

# Only what came in is pinned: everything else is recomputed from it. A tag costs about 1 kB at every later commit.
PINNED_TABLES = ("exp.assignments", "exp.exposures", "exp.outcomes", "exp.attributes")
_DAY_MS = 24 * 3600 * 1000


def tag_of_run(experiment_id: str, run_id: str) -> str:
    """Name of the tag: run ids hold characters that a tag can't."""
    return f"run_{hashlib.sha256(f'{experiment_id}/{run_id}'.encode()).hexdigest()[:12]}"


def pin_inputs(
    project: Project,
    experiment_id: str,
    run_id: str,
    snapshots: Mapping[str, int],
    retain_days: int | None,
    catalog: Catalog | None = None,
) -> list[str]:
    """Tag the event snapshots among `snapshots` (table -> id); without a retention they are kept for good."""
    tag = tag_of_run(experiment_id, run_id)
    age = None if retain_days is None else retain_days * _DAY_MS
    kept = [table for table in PINNED_TABLES if table in snapshots]
    for table in kept:
        handle = load_handle(project, table, catalog)
        existing = handle.metadata.refs.get(tag)
        if existing and existing.snapshot_id == snapshots[table] and existing.max_ref_age_ms == age:
            continue
        commit_again(
            handle,
            lambda h, t=table: h.manage_snapshots().create_tag(snapshots[t], tag, max_ref_age_ms=age).commit(),  # type: ignore[misc]
        )
    return kept
