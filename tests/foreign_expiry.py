"""A managed service's expiry, as a test makes it: one snapshot is kept, and no tag of anybody."""

from __future__ import annotations

from pyiceberg.table import Table as IcebergTable


def keep_one_snapshot(handle: IcebergTable) -> None:
    """Expire every snapshot but the current one, and drop what protects them."""
    for name, ref in list(handle.metadata.refs.items()):
        if name != "main":
            drop = handle.manage_snapshots()
            (drop.remove_tag(name) if ref.snapshot_ref_type == "tag" else drop.remove_branch(name)).commit()
    current = handle.current_snapshot()
    assert current is not None
    others = [one.snapshot_id for one in handle.metadata.snapshots if one.snapshot_id != current.snapshot_id]
    handle.maintenance.expire_snapshots().by_ids(others).commit()
    assert [one.snapshot_id for one in handle.refresh().metadata.snapshots] == [current.snapshot_id]
