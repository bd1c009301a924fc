"""ops.run_manifest: the snapshots that each stage of a run read and published, which pin what later stages read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And, EqualTo, GreaterThan

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import RUN_MANIFEST

OK = "ok"
ALL_TABLES = "*"  # in place of a table's name, for a stage that failed before it wrote any


@dataclass
class StageManifest:
    """The manifest rows of one stage of one run; every flush replaces all rows of that stage."""

    project: Project
    catalog: Catalog
    experiment_id: str
    run_id: str
    dt: date
    stage: str
    config_hash: str
    code_version: str
    at: datetime
    _rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add(
        self,
        table: str,
        role: str,
        snapshot_id: int | None,
        rows: int | None = None,
        seconds: float | None = None,
        status: str = OK,
        error: str | None = None,
    ) -> None:
        """Record one read or publication; the next flush writes it."""
        self._rows[(table, role)] = {
            "experiment_id": self.experiment_id,
            "run_id": self.run_id,
            "dt": self.dt,
            "stage": self.stage,
            "table": table,
            "role": role,
            "snapshot_id": snapshot_id,
            "rows": rows,
            "seconds": seconds,
            "status": status,
            "error": error,
            "config_hash": self.config_hash,
            "code_version": self.code_version,
            "at": self.at,
        }

    def snapshot_read(self, table: str) -> int | None:
        """The snapshot at which this stage has read a table; None before it has."""
        row = self._rows.get((table, "read"))
        return row["snapshot_id"] if row else None

    def unfinished(self) -> str | None:
        """The table that the stage has begun to write and not finished; None without one."""
        left = [table for (table, role), row in self._rows.items() if role == "published" and row["status"] != OK]
        return left[-1] if left else None

    def rows_read(self, table: str) -> int:
        """Number of rows that this stage has read from a table."""
        rows: int | None = self._rows[table, "read"]["rows"]
        return rows or 0

    def later_attempt(self) -> datetime | None:
        """The start of a later attempt of the stage that is recorded already; None without one.

        An attempt that stood still while another took its place must not replace what the other has recorded.
        """
        rows = read_rows(load_handle(self.project, RUN_MANIFEST, self.catalog), self._key)
        latest = max((row["at"] for row in rows), default=self.at)
        return latest if latest > self.at else None

    def flush(self) -> None:
        """Write the stage's rows to ops.run_manifest in one commit."""
        if self._rows:
            replace_rows(self.project, RUN_MANIFEST, self._key, list(self._rows.values()), self.catalog)

    @property
    def _key(self) -> dict[str, str]:
        return {"experiment_id": self.experiment_id, "run_id": self.run_id, "stage": self.stage}


@dataclass(frozen=True)
class Pins:
    """The snapshots that a run reads, by table: what it published itself, else what it read first."""

    published: dict[str, int]
    read: dict[str, int]

    def of(self, table: str) -> int | None:
        """The pinned snapshot of a table; None before the run has read or published it."""
        return self.published.get(table, self.read.get(table))


def run_rows(project: Project, experiment_id: str, run_id: str, catalog: Catalog | None = None) -> list[dict[str, Any]]:
    """Every manifest row of a run of a known experiment, earliest first."""
    handle = load_handle(project, RUN_MANIFEST, catalog)
    rows = read_rows(handle, {"experiment_id": experiment_id, "run_id": run_id})
    return sorted(rows, key=lambda row: (row["at"], row["stage"], row["table"], row["role"]))


def find_run(project: Project, run_id: str, catalog: Catalog | None = None) -> list[dict[str, Any]]:
    """Every manifest row of a run, searched in all experiments, earliest first."""
    rows = read_rows(load_handle(project, RUN_MANIFEST, catalog), {"run_id": run_id})
    return sorted(rows, key=lambda row: (row["at"], row["stage"], row["table"], row["role"]))


def pins_of(rows: list[dict[str, Any]]) -> Pins:
    """The pins of a run from its manifest rows; of a table published twice, the last publication counts."""
    good = [row for row in rows if row["status"] == OK and row["snapshot_id"] is not None]
    published = {row["table"]: row["snapshot_id"] for row in good if row["role"] == "published"}
    read: dict[str, int] = {}
    for row in good:
        if row["role"] == "read":
            read.setdefault(row["table"], row["snapshot_id"])
    return Pins(published, read)


def has_later_dt(project: Project, experiment_id: str, dt: date, catalog: Catalog | None = None) -> bool:
    """True when a later dt has been published for the experiment: then a run for `dt` is a backfill."""
    later = And(
        EqualTo("experiment_id", experiment_id), GreaterThan("dt", dt.isoformat()), EqualTo("role", "published")
    )
    rows = read_rows(load_handle(project, RUN_MANIFEST, catalog), later)
    return any(row["status"] == OK and row["table"] in TABLES and TABLES[row["table"]].shows_latest_dt for row in rows)


def failures(project: Project, experiment_id: str, run_id: str) -> list[dict[str, Any]]:
    """Manifest rows of the stages of a run that ended with an error, earliest first."""
    return [row for row in run_rows(project, experiment_id, run_id) if row["status"] != OK]
