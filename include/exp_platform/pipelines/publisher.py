"""How a stage publishes a table: it reuses an earlier publication, or audits, fences, commits and records new rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exp_platform.lake.arrow_files import Finish
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.publication import MAIN, Origin, Published, fence_of
from exp_platform.lake.publish import Publication, Rows, audited, nulls_explained, publish
from exp_platform.lake.row_audit import Audit, AuditRefused, Finding, Part
from exp_platform.lake.staging import Mode, Staged, commit_staged, discard, stage
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import CONTRACT_RESULTS
from exp_platform.ledger import claim
from exp_platform.ledger.contract_results import warnings_of
from exp_platform.pipelines.reader import Reader
from exp_platform.pipelines.record import StageRecord
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.reuse.answer import Answer
from exp_platform.pipelines.reuse.question import Question
from exp_platform.pipelines.run import Run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Pending:
    """Rows of one table that are written and not yet visible; `began` is a reading of the monotonic clock."""

    staged: Staged
    began: float


@dataclass(frozen=True)
class Publisher:
    """Publishes for one stage of one run, and records every publication."""

    run: Run
    stage: Stage
    record: StageRecord
    read: Reader
    reuse: Question
    audit: Audit | None = None
    _fences: dict[str, int] = field(default_factory=dict, repr=False)

    def __call__(
        self,
        table: str,
        rows: Rows | Callable[[], Rows],
        *,
        finish: Finish | None = None,
        part: Part | None = None,
        inputs: Mapping[str, int | str] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Published:
        """Replace this experiment's rows of a table in one fenced commit, or reuse an earlier publication.

        `rows` may be a function; it is called only when the rows are not reused. `inputs` are digests of inputs that
        are not tables; `notes` are stored with the snapshot, for a later run that builds on the rows.
        """
        answer = self.reuse.of(table, inputs)
        if answer.is_everything:
            return self.reused(table, answer)
        began = time.monotonic()
        self.record.begins(table)
        wanted = Publication(
            TABLES[table],
            self.run.scope,
            self._origin(table, inputs),
            self.read.handles[table],
            self.audit,
            self.read.branch_of(table),
            notes or {},
            before_commit=self.check_claim,
            fence=self._fence(table) if TABLES[table].engine == "spark" else None,
        )
        try:
            done = publish(wanted, rows() if callable(rows) else rows, finish=finish, part=part)
        except AuditRefused as refused:
            self.record.report(table, refused.findings)
            raise
        self.record.report(table, done.findings)
        self._landed(table, done, time.monotonic() - began, "overwrite")
        return done

    def reused(self, table: str, answer: Answer) -> Published:
        """Record the rows of an earlier publication as rows of this run too; nothing is written to the table."""
        assert answer.previous is not None
        self.check_claim()
        previous = answer.previous
        # The pin is today's snapshot, which shows the same rows: maintenance may expire the one that brought them
        # before this run's later stages read it.
        done = Published(self._fence(table), previous.rows, repeated=True, run_id=previous.run_id)
        self._report_audited(table, previous.run_id, answer.reason)
        self.record.landed(table, done, 0.0)
        whose = f"as of {previous.dt} (run {previous.run_id})"
        self.record.log(f"reused {done.rows:,} rows of {table} {whose}: {answer.reason}")
        return done

    # --- several tables, all or none -------------------------------------------------------------------------------

    def write_unseen(self, table: str, frame: DataFrame) -> Pending:
        """Write rows to a staging branch that nobody reads; `all_or_none` makes them visible."""
        self.stage.output(table)
        began, declared, scope = time.monotonic(), TABLES[table], self.run.scope
        try:
            with nulls_explained(declared, scope, frame):
                staged = stage(frame, declared, scope, self.read.handles[table], self._fence(table))
        except AuditRefused as refused:
            self.record.report(table, refused.findings)
            raise
        return Pending(staged, began)

    def all_or_none(self, batches: Sequence[tuple[Pending, Mode, Mapping[str, str], Mapping[str, str]]]) -> None:
        """Audit all tables, then commit them one after the other; one refused table holds all of them back.

        A batch is: the staged rows, `overwrite` or `append`, digests of its inputs, and properties for its snapshot.
        The rows must be distinct in their table's grain already.
        """
        for pending, mode, _, _ in batches:
            name = pending.staged.table.name
            try:
                self.record.report(name, audited(pending.staged, mode, self.audit, grain_is_proven=True))
            except AuditRefused as refused:
                self.record.report(name, refused.findings)
                raise
        self.check_claim()
        for pending, mode, inputs, properties in batches:
            name = pending.staged.table.name
            summary = self._origin(name, inputs).summary() | dict(properties)
            done = commit_staged(pending.staged, mode, summary, self.read.branch_of(name))
            self._landed(name, done, time.monotonic() - pending.began, mode)
            discard(pending.staged)

    # --- the platform's own tables ---------------------------------------------------------------------------------

    def replace(self, table: str, rows: list[dict[str, Any]], /, **key: Any) -> None:
        """Replace this experiment's rows of an ops table whose columns equal the key's values."""
        keys = {"experiment_id": self.run.experiment_id, **key}
        replace_rows(self.run.project, table, keys, rows, self.read.catalog)

    def check_claim(self) -> None:
        """Stop with Superseded when a newer run has claimed the experiment."""
        claim.check(self.run.project, self.run.experiment_id, self.run.run_id, self.read.catalog)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _origin(self, table: str, inputs: Mapping[str, int | str] | None) -> Origin:
        return self.reuse.origin(table, inputs)

    def _fence(self, table: str) -> int:
        """The table's fence. It is taken once, because each write to a branch refreshes the handle."""
        return self._fences.setdefault(table, fence_of(self.read.handles[table], self.read.branch_of(table)))

    def _report_audited(self, table: str, run_id: str, when: str) -> None:
        """Record which run audited the reused rows, and repeat its warnings: they hold as long as the rows do.

        Findings that an earlier attempt of this run has recorded stay as they are.
        """
        if run_id == self.run.run_id:
            return
        key = {"experiment_id": self.run.experiment_id, "run_id": run_id, "table": table}
        warned = warnings_of(self.read.handles[CONTRACT_RESULTS], key)
        self.record.report(table, [Finding(f"audited when run {run_id} published it ({when})", True), *warned])

    def _landed(self, table: str, done: Published, seconds: float, mode: Mode) -> None:
        self.record.landed(table, done, seconds)
        branch = self.read.branch_of(table)
        where = "" if branch == MAIN else f" on branch {branch} (a later dt is already published)"
        word = "added" if mode == "append" else "wrote"
        self.record.log(f"{word} {done.rows:,} rows of {table}{where} in {seconds:.1f} s (snapshot {done.snapshot_id})")
