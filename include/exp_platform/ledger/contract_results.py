"""ops.contract_results: all findings of one stage, written in one commit when the stage ends, also by an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.row_audit import Finding
from exp_platform.lake.tables.names import CONTRACT_RESULTS


@dataclass
class ContractResults:
    """The findings of one stage of one run, by table; a table without findings keeps those of an earlier attempt."""

    project: Project
    catalog: Catalog
    experiment_id: str
    run_id: str
    dt: date
    stage: str
    at: datetime
    _findings: dict[str, dict[str, Finding]] = field(default_factory=dict)

    def add(self, table: str, findings: Sequence[Finding]) -> None:
        """Keep findings of a table; a later finding replaces one with the same expectation."""
        if findings:
            self._findings.setdefault(table, {}).update({finding.expectation: finding for finding in findings})

    def flush(self) -> None:
        """Replace the stage's rows of the tables that have findings."""
        if not self._findings:
            return
        tables = tuple(sorted(self._findings))
        key = {"experiment_id": self.experiment_id, "run_id": self.run_id, "stage": self.stage, "table": tables}
        rows = [self._row(table, finding) for table in tables for finding in self._findings[table].values()]
        replace_rows(self.project, CONTRACT_RESULTS, key, rows, self.catalog)

    def _row(self, table: str, finding: Finding) -> dict[str, Any]:
        return {
            "experiment_id": self.experiment_id,
            "run_id": self.run_id,
            "dt": self.dt,
            "stage": self.stage,
            "table": table,
            "expectation": finding.expectation,
            "success": finding.success,
            "severity": finding.severity,
            "unexpected_count": finding.unexpected_count,
            "unexpected_percent": finding.unexpected_percent,
            "sample": list(finding.sample),
            "detail": finding.detail,
            "at": self.at,
        }


def warnings_of(handle: IcebergTable, key: dict[str, Any]) -> list[Finding]:
    """The stored warnings of a key."""
    return [
        Finding(
            row["expectation"],
            False,
            "warning",
            row["unexpected_count"],
            row["unexpected_percent"],
            tuple(row["sample"]),
            row["detail"],
        )
        for row in read_rows(handle, key | {"success": False, "severity": "warning"})
    ]
