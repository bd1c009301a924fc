"""PyIceberg computes and copies a table's whole metadata each time that a transaction looks at it: 15 times a commit.

These copies were half of a commit's processor time, and they grow with the table's history. Here a transaction computes
its metadata once for each state in which it is, and a copy shares what it holds with the original.
"""

from __future__ import annotations

from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata, TableMetadataCommonFields
from pyiceberg.table.update import update_table_metadata


def metadata_once(transaction: Transaction) -> TableMetadata:
    """The table's metadata with the updates of the transaction so far, computed when either has changed."""
    base, updates = transaction._table.metadata, transaction._updates
    known = vars(transaction).get("_known")
    if known is None or known[0] is not base or known[1] is not updates:
        known = (base, updates, update_table_metadata(base, updates) if updates else base)
        vars(transaction)["_known"] = known
    found: TableMetadata = known[2]
    return found


def copy_that_shares(metadata: TableMetadata, memo: object = None) -> TableMetadata:
    """Copy metadata without their snapshots and schemas: PyIceberg replaces such a list, and changes none in place."""
    return metadata.model_copy()


def remember_metadata() -> None:
    """Let the transactions of this process compute their metadata once for each state, and copy no table's history."""
    Transaction.table_metadata = property(metadata_once)
    TableMetadataCommonFields.__deepcopy__ = copy_that_shares
