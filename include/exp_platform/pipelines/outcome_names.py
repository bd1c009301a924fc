"""The names of the outcome events that a run sees, read only where a metric has no event in its sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.lake.tables.names import OUTCOMES
from exp_platform.results.absent import Absent, absent_metrics

if TYPE_CHECKING:
    from datetime import datetime

    from pyiceberg.table import Table as IcebergTable

    from exp_platform.pipelines.context import StageContext


def absent_of(ctx: StageContext, statistics: pa.Table) -> tuple[Absent, ...]:
    """The run's metrics whose source has no event before the end of dt."""

    def seen() -> frozenset[str]:
        handle = ctx.read.handle(OUTCOMES)
        return names_in(handle, ctx.run.experiment_id, ctx.read.pin(OUTCOMES), ctx.run.cutoff)

    return absent_metrics(statistics, ctx.run.metrics, seen)


def names_in(
    handle: IcebergTable, experiment_id: str, snapshot_id: int | None = None, cutoff: datetime | None = None
) -> frozenset[str]:
    """The distinct metric_name values of an experiment's outcome events, read batch by batch."""
    from pyiceberg.expressions import And, BooleanExpression, EqualTo, LessThan

    which: BooleanExpression = EqualTo("experiment_id", experiment_id)
    if cutoff is not None:
        which = And(which, LessThan("outcome_ts", cutoff.isoformat()))
    scan = handle.scan(row_filter=which, selected_fields=("metric_name",), snapshot_id=snapshot_id)
    names: set[str] = set()
    for batch in scan.to_arrow_batch_reader():
        names.update(pc.unique(batch.column("metric_name")).to_pylist())
    return frozenset(names)
