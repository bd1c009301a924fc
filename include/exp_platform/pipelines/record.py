"""The record of one stage: its reads, publications and findings, written to the ledger also when the stage fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pyiceberg.catalog import Catalog

from exp_platform.errors import ContractViolation, FencedConflict, StreamBlocked, Superseded
from exp_platform.lake.publication import Published
from exp_platform.lake.row_audit import Finding
from exp_platform.ledger import manifest
from exp_platform.ledger.contract_results import ContractResults
from exp_platform.pipelines.run import Run

BLOCKED, BLOCKED_BY_STREAM = "blocked", "blocked by a stream"
_STATUS_OF_ERROR = (
    (StreamBlocked, BLOCKED_BY_STREAM),
    (ContractViolation, BLOCKED),
    (Superseded, "superseded"),
    (FencedConflict, "conflict"),
)


@dataclass
class StageRecord:
    """The rows that a stage will leave in ops.run_manifest and ops.contract_results, and its lines in the log."""

    stage: str
    manifest: manifest.StageManifest
    contract_results: ContractResults
    say: Callable[[str], None]
    published: dict[str, Published] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, stage: str, catalog: Catalog, now: datetime, say: Callable[[str], None]) -> StageRecord:
        """An empty record of one stage of a run."""
        facts = (run.project, catalog, run.experiment_id, run.run_id, run.dt, stage)
        return cls(
            stage,
            manifest.StageManifest(*facts, run.config_hash, run.code_version, now),
            ContractResults(*facts, now),
            say,
        )

    def log(self, line: str) -> None:
        """Write one line to the task log, with the stage's name in front."""
        self.say(f"{self.stage}: {line}")

    def report(self, table: str, findings: Sequence[Finding]) -> None:
        """Keep the findings of an audit, and log those that failed."""
        self.contract_results.add(table, findings)
        for finding in findings:
            if not finding.success:
                self.log(f"{finding.severity}: {table}: {finding.expectation} ({finding.unexpected_count} rows)")

    def begins(self, table: str) -> None:
        """Record that a publication has begun, so that the manifest names the table if the stage fails in it."""
        self.manifest.add(table, "published", None, status="failed", error="the stage ended while it wrote this table")

    def landed(self, table: str, done: Published, seconds: float) -> None:
        """Record a publication of this stage, new or reused."""
        self.published[table] = done
        self.manifest.add(table, "published", done.snapshot_id, done.rows, seconds)

    def failed(self, error: BaseException) -> None:
        """Write the error to the manifest; an error while writing is only logged and must not hide the first one."""
        status = next((word for kind, word in _STATUS_OF_ERROR if isinstance(error, kind)), "failed")
        sentence = str(error).splitlines()[0][:2000] if str(error) else type(error).__name__
        table = self.manifest.unfinished() or manifest.ALL_TABLES
        self.manifest.add(table, "published", None, status=status, error=sentence)
        try:
            self.flush()
        except Exception as second:
            self.log(f"the error could not be written to ops.run_manifest: {second}")

    def flush(self) -> None:
        """Write the record to ops.contract_results and ops.run_manifest, unless a later attempt has written its own."""
        if later := self.manifest.later_attempt():
            began = f"{later:%Y-%m-%d %H:%M:%S} UTC"
            self.log(f"nothing is recorded: the attempt that began {began} has recorded the stage")
            return
        self.contract_results.flush()
        self.manifest.flush()
