"""The question of reuse, asked once per table: may the rows of an earlier run stay as they are?

The catalog and the manifest answer it, so a stage that reuses everything needs no Spark session. Only where events
have landed since, or lie between the two cut-offs, are some columns of these events read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from pyiceberg.table.snapshots import Snapshot

from exp_platform.lake.changes import is_expired, only_appended, untouched
from exp_platform.lake.ops import read_rows
from exp_platform.lake.publication import (
    MAIN,
    Origin,
    find_published,
    history_is_cut,
    last_publication,
    notes_of,
    publication_seen_at,
)
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import CONTRACT_RESULTS
from exp_platform.pipelines.reader import Reader
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.reuse.answer import EXPIRED, Answer, Previous, everything, nothing
from exp_platform.pipelines.reuse.new_events import EVENT_TIMES, sees_new_events
from exp_platform.pipelines.run import Run

if TYPE_CHECKING:
    from typing import Any

FULL_REFRESH = "--full-refresh was given"


@dataclass(frozen=True)
class Question:
    """Decides for one stage of one run which rows are reused, and remembers its answers."""

    run: Run
    stage: Stage
    read: Reader
    log: Callable[[str], None]
    _answers: dict[str, Answer] = field(default_factory=dict, repr=False)

    def of(self, table: str, inputs: Mapping[str, int | str] | None = None) -> Answer:
        """The answer for a table; `inputs` are digests of inputs that are not tables."""
        if table not in self._answers:
            self._answers[table] = self._asked(table, inputs)
        return self._answers[table]

    def settle(self, table: str, answer: Answer) -> Answer:
        """Replace the general answer by that of the stage, which knows more about its own table."""
        self._answers[table] = answer
        return answer

    def origin(self, table: str, inputs: Mapping[str, int | str] | None = None) -> Origin:
        """The identity of a publication: who publishes, and from which snapshots of the declared inputs."""
        run, declared = self.run, self.run.inputs_of(self.stage.output(table))
        read = {self.read.stored_in(name): self.read.pin(name) for name in declared} | dict(inputs or {})
        return Origin(run.run_id, self.stage.name, run.dt, self._config_hash(table), run.code_version, read)

    def previous(self, table: str) -> tuple[Previous | None, str]:
        """The last published rows of a table, by the same configuration and code; else None and the reason."""
        if self.run.options.full_refresh:
            return None, FULL_REFRESH
        if self.read.branch != MAIN:
            return None, "a later dt is already published, so this run is a backfill"
        last = last_publication(self.read.handles[table], TABLES[table], self.run.scope)
        if last is None or last.summary is None:
            cut = history_is_cut(self.read.handles[table])
            return None, f"the last publication {EXPIRED}" if cut else "nothing was published before"
        said = last.summary.additional_properties
        if said.get("config_hash") != self._config_hash(table):
            return None, "the configuration has changed since"
        if said.get("code_version") != self.run.code_version:
            return None, "the code has changed since"
        if date.fromisoformat(said["dt"]) > self.run.dt:
            return None, f"the published rows are of the later dt {said['dt']}"
        if not self._is_recorded(table, said.get("run_id", "")):
            return None, f"the audit of run {said.get('run_id')} was never recorded"
        return _as_previous(last), ""

    def notes_at(self, table: str, snapshot_id: int) -> Mapping[str, Any]:
        """The notes of the publication whose rows a snapshot shows; empty when that publication has been expired."""
        return notes_of(publication_seen_at(self.read.handles[table], TABLES[table], self.run.scope, snapshot_id))

    def _config_hash(self, table: str) -> str:
        """The hash of the configuration that can change the table's rows."""
        return self.run.hash_without(self.stage.output(table).ignores)

    def _asked(self, table: str, inputs: Mapping[str, int | str] | None) -> Answer:
        if self.run.options.full_refresh and self.stage.reuses:
            return nothing(FULL_REFRESH)
        origin = self.origin(table, inputs)
        found = find_published(
            self.read.handles[table], TABLES[table], self.run.scope, origin, self.read.branch_of(table)
        )
        if found is not None and not self._is_recorded(table, found.run_id):
            return nothing(f"the audit of run {found.run_id} was never recorded")
        if found is not None:
            snapshot = self.read.handles[table].snapshot_by_id(found.snapshot_id)
            assert snapshot is not None
            return everything(_as_previous(snapshot), "made from the same inputs")
        if self.stage.output(table).by_events:
            return self._no_new_events(table, origin)
        return nothing("its inputs or its dt have changed")

    def _is_recorded(self, table: str, run_id: str) -> bool:
        """True when the audit of a publication is in the books; a killed stage leaves rows without, and no warnings."""
        key = {"experiment_id": self.run.experiment_id, "run_id": run_id, "table": table}
        return bool(read_rows(self.read.handles[CONTRACT_RESULTS], key, limit=1))

    def _no_new_events(self, table: str, origin: Origin) -> Answer:
        """Reuse the rows of another dt when this run sees exactly the inputs that the other run saw."""
        previous, reason = self.previous(table)
        if previous is None:
            return nothing(reason)
        if previous.inputs.keys() != origin.inputs.keys():
            return nothing("the published rows are made of other tables")
        declared = self.run.inputs_of(self.stage.output(table))
        events = {self.read.stored_in(name): name for name in sorted(EVENT_TIMES.keys() & set(declared))}
        for name in sorted(origin.inputs.keys() - events.keys()):
            since, until = previous.inputs[name], origin.inputs[name]
            if is_expired(self.read.handles[name], int(since)):
                return nothing(f"the snapshot of {name} as of dt {previous.dt} {EXPIRED}")
            if not untouched(self.read.handles[name], self.run.experiment_id, since, int(until)):
                return nothing(f"{name} has changed since dt {previous.dt}")
        for stored, name in events.items():
            since, until = previous.inputs[stored], origin.inputs[stored]
            if is_expired(self.read.handles[stored], int(since)):
                return nothing(f"the snapshot of {stored} as of dt {previous.dt} {EXPIRED}")
            if not only_appended(self.read.handles[stored], self.read.owners_of(name), since, int(until)):
                return nothing(f"{stored} was rewritten since dt {previous.dt}, not only appended to")
            if sees_new_events(self.read, self.run, previous, name):
                return nothing(f"{stored} has events that dt {previous.dt} did not see")
        return everything(previous, f"this run sees no event that dt {previous.dt} did not see")


def _as_previous(snapshot: Snapshot) -> Previous:
    said = snapshot.summary.additional_properties if snapshot.summary else {}
    return Previous(
        snapshot.snapshot_id,
        int(said.get("rows", 0)),
        said.get("run_id", ""),
        json.loads(said.get("inputs", "{}")),
        notes_of(snapshot),
        date.fromisoformat(said["dt"]),
    )
