"""Without Airflow: ingest the streams that an experiment reads, before its own run, each under its own claim."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from exp_platform.errors import ContractViolation
from exp_platform.ledger.claim import current_claim
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import INGEST_STREAMS
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import StreamRun, stream_run, streams_of

Blocked = Callable[[StreamRun, ContractViolation], None]


def ingest_streams_of(run: Run, session: Session, log: Callable[[str], None], blocked: Blocked) -> None:
    """Ingest each stream of the run's experiment, unless another run is at work on it.

    A broken stream is told by `blocked`, and then stops the experiment at its own gate 1.
    """
    for name in streams_of(run.project, run.experiment_id):
        again = stream_run(run.project, name, run.dt, f"{run.run_id}__{name}"[:200], started_by=run.started_by)
        holder = current_claim(run.project, again.experiment_id)
        if holder is not None and holder.is_active(datetime.now(UTC)):
            log(f"stream {name}: run {holder.run_id} is at work on it; its events are read as they are")
            continue
        try:
            run_stage(again, INGEST_STREAMS, session=session, say=log)
        except ContractViolation as error:
            blocked(again, error)
