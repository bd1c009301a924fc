"""The section on data: rows read, refused and used, the snapshots, and how to compute the numbers again."""

from __future__ import annotations

from typing import Any

from exp_platform.memo.blocks import Bullets, Command, Facts, Fold, Section, Table
from exp_platform.memo.source import Source


def data(source: Source) -> Section:
    """Datasets with their counts up to the cut-off, the run, and the command that reproduces it."""
    found, run = source.facts["data"], source.facts["run"]
    blocks: list[Any] = []
    if found:
        blocks.append(_datasets(found["datasets"]))
        lines = [f"{row['rows']:,} rows of {row['dataset']} refused: {row['rule']}" for row in found["refused"]]
        lines += [
            f"{row['table']}: {row['expectation']} ({row['unexpected_count'] or 0:,} rows) {row['detail'] or ''}"
            for row in found["warnings"]
        ]
        if lines:
            blocks.append(Bullets(tuple(lines)))
    blocks.append(
        Facts(
            (
                ("Run", run["run_id"]),
                ("Computed", run["computed_at"]),
                ("Configuration", run["config_hash"]),
                ("Code", run["code_version"]),
            )
        )
    )
    says = "Compute it again from the same snapshots and compare every number:"
    blocks.append(Command(says, f"exp reproduce {run['run_id']}"))
    if found and found["snapshots"]:
        blocks.append(Fold("Snapshots that the numbers stand on", (_snapshots(found["snapshots"]),)))
    return Section("data", "Data, and how to reproduce it", tuple(blocks))


def _datasets(rows: list[Any]) -> Table:
    def count(value: int | None) -> str:
        return "–" if value is None else f"{value:,}"

    return Table(
        heads=("Dataset", "Files", "Raw rows", "Refused", "There twice", "Valid events", "Used, up to the cut-off"),
        rows=tuple(
            (
                row["dataset"],
                *(count(row[name]) for name in ("files", "rows", "refused", "repeated", "events", "used")),
            )
            for row in rows
        ),
        numeric=(1, 2, 3, 4, 5, 6),
    )


def _snapshots(rows: list[Any]) -> Table:
    return Table(
        heads=("Stage", "Table", "Role", "Snapshot", "Rows"),
        rows=tuple(
            (
                row["stage"],
                row["table"],
                row["role"],
                str(row["snapshot_id"]),
                "–" if row["rows"] is None else f"{row['rows']:,}",
            )
            for row in rows
        ),
        numeric=(3, 4),
    )
