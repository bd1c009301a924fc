"""Gate 1 of an experiment that reads streams: each stream is sound, and holds events of the experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from exp_platform.errors import ContractViolation, StreamBlocked
from exp_platform.ingest.intake import is_required
from exp_platform.ingest.problems import Problem, findings, summarise
from exp_platform.lake.ops import read_rows
from exp_platform.lake.row_audit import Finding
from exp_platform.lake.tables.names import RUN_MANIFEST
from exp_platform.ledger.manifest import OK
from exp_platform.pipelines.record import BLOCKED
from exp_platform.schemas import LOGS

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext
    from exp_platform.pipelines.stream_view import StreamView

SHOWN = 3


@dataclass(frozen=True)
class StreamState:
    """A stream as its runs left it."""

    name: str
    last_dt: date | None  # of the latest run that published; None before the first
    blocked_since: date | None = None  # first dt of the runs that were blocked without a sound one between
    error: str = ""

    @property
    def problem(self) -> str | None:
        """The reason why nobody may read the stream, as a sentence; None when it may be read."""
        if self.blocked_since is not None:
            return f"stream {self.name} is blocked since dt {self.blocked_since}: {self.error}"
        if self.last_dt is None:
            return f"stream {self.name} was never ingested: run bin/spark-submit spark_jobs/ingest_streams.py " + (
                f"--stream {self.name}"
            )
        return None


def state_of(name: str, manifest: Sequence[dict[str, Any]]) -> StreamState:
    """The state of a stream from the rows of its runs in ops.run_manifest."""
    last_dt, since, error = None, None, ""
    by_run: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(manifest, key=lambda row: row["at"]):
        by_run.setdefault(row["run_id"], []).append(row)
    for rows in by_run.values():
        bad = next((row for row in rows if row["status"] == BLOCKED), None)
        if bad is not None:
            since, error = since or bad["dt"], bad["error"] or ""
        elif all(row["status"] == OK for row in rows):
            last_dt, since, error = max(rows[-1]["dt"], last_dt or rows[-1]["dt"]), None, ""
    return StreamState(name, last_dt, since, error)


def pass_streams(ctx: StageContext) -> None:
    """Pin every stream table that the experiment reads; a blocked stream, or one without its events, stops the run."""
    views = ctx.run.stream_views
    states = {name: _state(ctx, name) for view in views.values() for name in view.streams}
    blocked = [sentence for state in states.values() if (sentence := state.problem)]
    if blocked:
        raise StreamBlocked(f"{ctx.run.experiment_id}: {'; '.join(blocked)}. Earlier results stay readable")
    problems = []
    for own_table, view in views.items():
        ctx.read.pin(own_table)
        late = [state for name in view.streams if (state := states[name]).last_dt and state.last_dt < ctx.run.dt]
        problem, found = _examined(ctx, own_table, view)
        problems += [problem] if problem else []
        ctx.record.report(view.table.name, [*map(_late, late), *found, *findings([problem] if problem else [])])
    if problems:
        raise ContractViolation(summarise(problems, ctx.run.experiment_id))


def _state(ctx: StageContext, name: str) -> StreamState:
    key = {"experiment_id": f"stream.{name}", "stage": "ingest_streams"}
    return state_of(name, read_rows(ctx.read.handle(RUN_MANIFEST), key))


def _late(state: StreamState) -> Finding:
    detail = f"stream {state.name} was last ingested for dt {state.last_dt}"
    return Finding(f"stream {state.name} is as far as this run", False, "warning", detail=detail)


def _examined(ctx: StageContext, own_table: str, view: StreamView) -> tuple[Problem | None, list[Finding]]:
    """The problem of the experiment's rows in the streams, if any, and the findings on them."""
    dataset, place, experiment = view.dataset, ", ".join(view.streams), ctx.run.experiment
    handle, snapshot_id = ctx.read.handle(own_table), ctx.read.snapshot_of(own_table)
    if dataset not in LOGS:
        field = handle.schema().find_field(view.time).name
        one = handle.scan(row_filter=view.filter(), selected_fields=(field,), snapshot_id=snapshot_id, limit=1)
        good, other = one.to_arrow().num_rows, Counter[str]()
    else:
        scan = handle.scan(
            row_filter=view.filter(any_variant=True), selected_fields=("variant",), snapshot_id=snapshot_id
        )
        arms = {row["values"]: row["counts"] for row in pc.value_counts(scan.to_arrow()["variant"]).to_pylist()}
        good = sum(count for arm, count in arms.items() if arm in view.variants)
        other = Counter({arm: count for arm, count in arms.items() if arm not in view.variants})
    bad, limit = other.total(), ctx.run.project.contracts_of(experiment).max_bad_fraction
    shown = ", ".join(f"{arm} {count:,}" for arm, count in other.most_common(SHOWN))
    share = 100 * bad / (good + bad) if bad else 0.0
    found = [Finding("no unknown_variant", False, "warning", bad, share, detail=shown)] if bad else []
    if bad > limit * (good + bad):
        what = (
            f"{bad:,} of {good + bad:,} events of this experiment ({share:.4g}%) name an arm that "
            f"it does not have, allowed {100 * limit:.4g}% (contracts.max_bad_fraction): {shown}"
        )
        return Problem(dataset, "rows are valid", f"stream {place}", what), found
    if not good and is_required(experiment, dataset):
        what = "no event of this experiment; look at the stream's mapping, or wait until its events are there"
        return Problem(dataset, "there are rows", f"stream {place}", what), found
    return None, found
