"""The section on data: rows read, refused and used, the snapshots, and how to compute the numbers again."""

from __future__ import annotations

from typing import Any

from exp_platform.memo import names
from exp_platform.memo.blocks import Card, Command, Facts, Fold, Section, Table
from exp_platform.memo.card_words import broken_rule, noted
from exp_platform.memo.cards import DOUBT, Finding, card, subject_of
from exp_platform.memo.published import Source
from exp_platform.memo.queries import broken_rules, quarantined


def data(source: Source) -> Section:
    """Datasets with their counts up to the cut-off, the run, and the command that reproduces it."""
    found, run = source.facts["data"], source.facts["run"]
    blocks: list[Any] = []
    if found:
        blocks.append(_datasets(found["datasets"]))
        blocks += [*_refused(source), *_noted(source)]
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


def _refused(source: Source) -> list[Card]:
    """A card for the rows that ingest refused and a run could do without."""
    rows = source.facts["data"]["refused"]
    if not rows:
        return []
    found = Finding(
        tone=DOUBT,
        title="Raw rows were refused",
        what=tuple(f"{row['rows']:,} rows of {row['dataset']} refused: {row['rule']}" for row in rows),
        since="the files that were read last",
        units=f"{sum(row['rows'] for row in rows):,} rows",
        where=", ".join(dict.fromkeys(row["dataset"] for row in rows)),
        known=broken_rule(", ".join(row["rule"] for row in rows)),
        query=quarantined(subject_of(source)),
    )
    return [card(found)]


def _noted(source: Source) -> list[Card]:
    """A card for each other warning of an audit; a broken rule of rows is told by the card of the refused rows."""
    return [
        card(
            Finding(
                tone=DOUBT,
                title=f"{row['table']}: {row['expectation']}",
                what=(row["detail"] or "",),
                since=f"the run as of {names.day(source.facts['dt'])}",
                units=f"{row['unexpected_count']:,}" if row["unexpected_count"] else "",
                where=row["table"],
                known=noted(row["expectation"]),
                query=broken_rules(subject_of(source)),
            )
        )
        for row in source.facts["data"]["warnings"]
        if not (row["expectation"].startswith("no ") and source.facts["data"]["refused"])
    ]


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
