"""The outcome events of a run and its metrics: which sources have no event, and which repeat many rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.ingest.repeats import decode, published_with
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import OUTCOMES
from exp_platform.results.absent import Absent, absent_metrics

if TYPE_CHECKING:
    from datetime import datetime

    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table as IcebergTable

    from exp_platform.pipelines.context import StageContext


def absent_of(ctx: StageContext, statistics: pa.Table) -> tuple[Absent, ...]:
    """The run's metrics whose source has no event before the end of dt."""

    return absent_metrics(statistics, ctx.run.metrics, partial(_names_seen, ctx))


def _names_seen(ctx: StageContext) -> frozenset[str]:
    """The names of outcome events before the end of dt, as a copy of the same events would show them.

    An event of a stream counts however early it is, but its name only where that stream delivers the name.
    """
    handle, at, cutoff = ctx.read.handle(OUTCOMES), ctx.read.pin(OUTCOMES), ctx.run.cutoff
    view = ctx.run.stream_views.get(OUTCOMES)
    if view is None:
        return names_in(handle, ctx.read.row_filter(OUTCOMES), at, cutoff)
    read = {name for _, names in view.names for name in names}
    return names_in(handle, view.any_time(), at, cutoff) | (names_in(handle, view.any_name(), at, cutoff) - read)


def repeated_of(ctx: StageContext) -> dict[str, tuple[int, int]]:
    """Outcome source -> its rows, and those that were dropped, as the run's events were published with.

    Rows of a stream are those of all its users, whichever experiment they are in.
    """
    handle, table, at = ctx.read.handle(OUTCOMES), TABLES[ctx.read.stored_in(OUTCOMES)], ctx.read.snapshot_of(OUTCOMES)
    wanted = {name for metric in ctx.run.metrics for name in metric.sources}
    found: dict[str, tuple[int, int]] = {}
    for owner in ctx.read.owners_of(OUTCOMES):
        known = decode(published_with(handle, table, Scope(owner, ctx.run.dt), at)).items()
        found |= {name: (one.rows, one.dropped) for name, one in known if name in wanted or table.name == OUTCOMES}
    return found


def names_in(
    handle: IcebergTable,
    which: BooleanExpression,
    snapshot_id: int | None = None,
    cutoff: datetime | None = None,
    column: str = "metric_name",
    until: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """The distinct values of a column of some events, read batch by batch, or until the wanted ones were all seen."""
    from pyiceberg.expressions import And, LessThan

    if cutoff is not None:
        which = And(which, LessThan("outcome_ts", cutoff.isoformat()))
    scan = handle.scan(row_filter=which, selected_fields=(column,), snapshot_id=snapshot_id)
    names: set[str] = set()
    for batch in scan.to_arrow_batch_reader():
        names.update(pc.unique(batch.column(column)).to_pylist())
        if until and until <= names:
            break
    return frozenset(names)
