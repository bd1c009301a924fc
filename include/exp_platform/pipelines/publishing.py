"""How a stage makes its results visible: audited first, then moved in one fenced commit, then recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from exp_platform.lake.arrow_files import Finish, finished
from exp_platform.lake.audit import (
    AuditRefused,
    Finding,
    Part,
    audit_spark,
    audit_staged,
    conform_spark,
    maps_of_numbers,
    refuse,
)
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.publish import MAIN, Origin, Published, fence_of, find_published, publish
from exp_platform.lake.staging import (
    Mode,
    Staged,
    StagedBatch,
    commit_staged,
    discard,
    is_null_refused,
    laid_out,
    stage,
    stage_by_arrow,
)
from exp_platform.lake.tables import TABLES
from exp_platform.ledger import claim
from exp_platform.ledger.pins import pin_inputs
from exp_platform.pipelines.previous import Previous, without_new_events
from exp_platform.pipelines.view import StageView

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass
class PublishingStage(StageView):
    """A stage that writes too."""

    _fences: dict[str, int] = field(default_factory=dict, repr=False)

    def publish(
        self,
        table: str,
        frame: DataFrame | pa.Table | list[dict[str, Any]],
        *,
        inputs: Mapping[str, int | str] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Published:
        """Audit, then replace this experiment's rows in one fenced commit, and record it.

        `notes` stay with the snapshot, for a later run that builds on these rows.
        """
        started = time.monotonic()
        origin = self._origin(inputs or {})
        self.manifest.add(table, "published", None, status="failed", error="the stage ended while it wrote this table")
        try:
            done = publish(
                TABLES[table],
                frame,
                self._scope,
                origin,
                self.handles[table],
                audit=self.audit,
                branch=self._branch(table),
                again=bool(self.options.get("full_refresh")),
                notes=notes,
                before_commit=lambda: claim.check(self.project, self.experiment_id, self.run_id, self.catalog),
            )
        except AuditRefused as refused:
            self.report(table, refused.findings)
            raise
        if done.repeated:
            self._record_repeated(table, done)
            return done
        self.report(table, done.findings)
        self._record_published(table, done, time.monotonic() - started, "overwrite")
        return done

    def already_published(self, *tables: str) -> bool:
        """Whether all of them hold what would come out now, from what was read so far; then that is recorded.

        `publish` looks for itself; this spares a stage that works before it publishes.
        """
        if self.options.get("full_refresh"):
            return False
        origin = self._origin({})
        found = {
            table: find_published(self.handles[table], TABLES[table], self._scope, origin, self._branch(table))
            for table in tables
        }
        if any(done is None for done in found.values()):
            return False
        for table, done in found.items():
            assert done is not None
            self._record_repeated(table, done)
        return True

    def still_holds(self, table: str) -> bool:
        """Whether an earlier day's rows are this day's, no event having come since; then that is recorded.

        Only for a table that depends on the day through nothing but the events that it sees.
        """
        previous = without_new_events(self, table)
        if previous is not None:
            self.take_over(table, previous)
        return previous is not None

    def take_over(self, table: str, previous: Previous) -> None:
        """Record that an earlier day's rows are those of this one."""
        claim.check(self.project, self.experiment_id, self.run_id, self.catalog)
        # As they are seen now: the snapshot that they came with may be expired before this run's later stages read it.
        kept = Published(self._fence(table), previous.rows, repeated=True, run_id=previous.run_id)
        self._report_audited(table, kept.run_id, f"for {previous.dt}")
        self._published[table] = kept
        self.manifest.add(table, "published", kept.snapshot_id, kept.rows, 0.0)
        whose = f"as of {previous.dt} (run {kept.run_id})"
        self.log(f"kept {kept.rows:,} rows of {table} {whose}: they would come out the same")

    def publish_large(
        self,
        table: str,
        frame: DataFrame,
        *,
        finish: Finish | None = None,
        part: Part | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Published:
        """`publish` for a result too large to be kept: written once, unseen, audited from its files, then moved.

        `finish` makes the table's rows from the frame's where they are written. With a part only its rows are replaced,
        and audited beside those that stay.
        """
        if self.already_published(table):
            return self._published[table]
        started, declared = time.monotonic(), TABLES[table]
        self.manifest.add(table, "published", None, status="failed", error="the stage ended while it wrote this table")
        rows, fence = laid_out(frame, declared), self._fence(table)
        with self._explained(table, finished(frame, declared, finish) if finish else frame):
            if finish or part or maps_of_numbers(declared):
                staged = stage_by_arrow(
                    rows, declared, self._scope, self.handles[table], fence, finish=finish, part=part
                )
            else:
                staged = stage(rows, declared, self._scope, self.handles[table], fence)
        try:
            self._audit_staged(staged, "overwrite", grain_is_proven=False)
            claim.check(self.project, self.experiment_id, self.run_id, self.catalog)
            properties = {"notes": json.dumps(notes or {})}
            return self._commit_staged(StagedBatch(staged, "overwrite", {}, properties), started)
        finally:
            discard(staged)

    def stage_rows(self, table: str, frame: DataFrame) -> Staged:
        """Write rows where nobody reads them; `publish_staged` makes them visible."""
        with self._explained(table, frame):
            return stage(frame, TABLES[table], self._scope, self.handles[table], self._fence(table))

    def publish_staged(self, batches: Sequence[StagedBatch]) -> None:
        """Audit all, then commit one after the other: a table that is refused keeps the others back too.

        The rows are distinct in their table's grain.
        """
        for batch in batches:
            self._audit_staged(batch.staged, batch.mode, grain_is_proven=True)
        claim.check(self.project, self.experiment_id, self.run_id, self.catalog)
        for batch in batches:
            self._commit_staged(batch, time.monotonic())
            discard(batch.staged)

    def _audit_staged(self, staged: Staged, mode: Mode, *, grain_is_proven: bool) -> None:
        frame, whole, table = staged.frame(), staged.beside_what_stays(), staged.table
        _, findings = audit_staged(
            frame, table, self._scope, staged.broken_inside, whole=None if grain_is_proven else whole
        )
        # An append that adds nothing is no table without rows.
        has_rows = staged.rows or mode == "overwrite"
        if self.audit and has_rows and not any(finding.blocks for finding in findings):
            findings += self.audit(whole, table, staged.part)
        self.report(table.name, findings)
        refuse(table, findings)

    def _commit_staged(self, batch: StagedBatch, started: float) -> Published:
        table = batch.staged.table.name
        properties = self._origin(batch.inputs).summary() | dict(batch.properties)
        done = commit_staged(batch.staged, batch.mode, properties, self._branch(table))
        self._record_published(table, done, time.monotonic() - started, batch.mode)
        return done

    def _fence(self, table: str) -> int:
        """Taken once: what is written to a branch moves the handle on."""
        return self._fences.setdefault(table, fence_of(self.handles[table], self._branch(table)))

    @contextmanager
    def _explained(self, table: str, frame: DataFrame) -> Iterator[None]:
        """A writer stops at the first null in a required column; the audit says which rows have one."""
        try:
            yield
        except AuditRefused as refused:
            self.report(table, refused.findings)
            raise
        except Exception as error:
            if is_null_refused(error):
                _, findings = audit_spark(conform_spark(frame, TABLES[table]), TABLES[table], self._scope)
                self.report(table, findings)
                refuse(TABLES[table], findings)
            raise

    def replace(self, table: str, rows: list[dict[str, Any]], /, **key: Any) -> None:
        """Replace this experiment's rows of an ops table whose columns equal the key's values."""
        replace_rows(self.project, table, {"experiment_id": self.experiment_id, **key}, rows, self.catalog)

    def report(self, table: str, findings: Sequence[Finding]) -> None:
        """Keep findings for `ops.contract_results`; written when the stage ends, whichever way."""
        self.contract_results.add(table, findings)
        for finding in findings:
            if not finding.success:
                self.log(f"{finding.severity}: {table}: {finding.expectation} ({finding.unexpected_count} rows)")

    def pin_inputs(self) -> None:
        """Keep the event snapshots of this run reproducible: call it when the decision is published."""
        pins = {table: self.snapshot_of(table) for table in TABLES if table in self.pins.published | self.pins.read}
        days = None if self.experiment.status == "concluded" else self.project.profile.pins.retain_days
        kept = pin_inputs(self.project, self.experiment_id, self.run_id, pins, days, self.now, self.catalog)
        self.log(f"pinned {', '.join(kept) or 'nothing'} for {days or 'all'} days")

    # --- inside ----------------------------------------------------------------------------------------------------

    def _origin(self, inputs: Mapping[str, int | str]) -> Origin:
        """Who publishes, and from what."""
        read = self.manifest.inputs(self.outputs) | dict(inputs)
        return Origin(self.run_id, self.stage, self.dt, self.config_hash, self.code_version, read)

    def _record_repeated(self, table: str, done: Published) -> None:
        """The rows were audited when they were published."""
        self._report_audited(table, done.run_id, "from the same inputs")
        self._record_published(table, done, 0.0, "overwrite")

    def _report_audited(self, table: str, run_id: str, when: str) -> None:
        """Say which run has audited the rows; what it warned of holds as long as they do.

        What this very run has found, in an earlier attempt, stays as it is.
        """
        if run_id == self.run_id:
            return
        found = self.rows("ops.contract_results", run_id=run_id, table=table, success=False)
        warnings = [
            Finding(
                row["expectation"],
                False,
                "warning",
                row["unexpected_count"],
                row["unexpected_percent"],
                tuple(row["sample"]),
                row["detail"],
            )
            for row in found
            if row["severity"] == "warning"
        ]
        self.report(table, [Finding(f"audited when run {run_id} published it {when}", True), *warnings])

    def _record_published(self, table: str, done: Published, seconds: float, mode: Mode) -> None:
        self._published[table] = done
        self.manifest.add(table, "published", done.snapshot_id, done.rows, seconds)
        self._log_published(table, done, seconds, mode)

    def _log_published(self, table: str, done: Published, seconds: float, mode: Mode) -> None:
        whose = "" if done.run_id in ("", self.run_id) else f" by run {done.run_id} from the same inputs"
        word = f"found, already published{whose}:" if done.repeated else ("added" if mode == "append" else "wrote")
        where = "" if self._branch(table) == MAIN else f" on branch {self.branch} (a later dt is already published)"
        self.log(f"{word} {done.rows:,} rows of {table}{where} in {seconds:.1f} s (snapshot {done.snapshot_id})")
