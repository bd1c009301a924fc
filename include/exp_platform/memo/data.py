"""The memo's data section: rows read, refused and duplicate, and the snapshots that the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

Row = Mapping[str, Any]
Rows = Sequence[Row]
DATASETS = ("assignments", "exposures", "outcomes", "attributes")
REASONS_SHOWN = 10


def data_section(
    manifest: Rows,
    files: Rows,
    quarantine: pa.Table,
    findings: Rows,
    used: Mapping[str, int],
    streams: Mapping[Any, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The section from the run's rows of ops.run_manifest and ops.contract_results, and the files and quarantine.

    `used` holds for each dataset the events up to the cut-off, which the numbers stand on; `streams` names those that
    a dataset is read from: its counts are then of all of their events, whoever reads them.
    """
    named = {dataset: {"streams": sorted(names)} for dataset, names in (streams or {}).items()}
    return {
        "datasets": [
            _dataset(name, manifest, files) | {"used": used.get(name)} | named.get(name, {}) for name in DATASETS
        ],
        "refused": _refused(quarantine),
        "warnings": [
            {name: row[name] for name in ("table", "expectation", "unexpected_count", "detail")}
            for row in findings
            if not row["success"]
        ],
        "snapshots": [
            {name: row[name] for name in ("stage", "table", "role", "snapshot_id", "rows")}
            for row in sorted(manifest, key=lambda r: (r["at"], r["stage"], r["role"] != "read", r["table"]))
            if row["snapshot_id"] is not None
        ],
    }


def _dataset(name: str, manifest: Rows, files: Rows) -> dict[str, Any]:
    """Counts of one dataset: files, raw rows, refused rows, duplicates, and distinct valid events."""
    mine = [row for row in files if row["dataset"] == name]
    tables = (f"exp.{name}", f"exp.stream_{name}")  # its own events, or the streams that it reads
    events = next(
        (row["rows"] for row in sorted(manifest, key=lambda r: r["role"]) if row["table"] in tables and row["rows"]),
        None,
    )
    raw = sum(row["rows"] or 0 for row in mine)
    refused = sum(row["refused"] or 0 for row in mine)
    repeated = max(0, raw - refused - events) if events is not None and raw else None
    return {
        "dataset": name,
        "files": len(mine),
        "rows": raw,
        "refused": refused,
        "repeated": repeated,
        "events": events,
    }


def _refused(quarantine: pa.Table) -> list[dict[str, Any]]:
    """Number of refused rows by dataset and rule, the most frequent first."""
    counts = quarantine.group_by(["dataset", "rule"]).aggregate([("count", "sum")]).to_pylist()
    ranked = sorted(counts, key=lambda row: (-row["count_sum"], row["dataset"], row["rule"]))
    return [{"dataset": r["dataset"], "rule": r["rule"], "rows": r["count_sum"]} for r in ranked[:REASONS_SHOWN]]
