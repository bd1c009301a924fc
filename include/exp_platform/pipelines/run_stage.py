"""The one way to run a stage, for spark-submit, `run_end_to_end`, `exp reproduce` and the detection matrix."""

from __future__ import annotations

from datetime import datetime

from exp_platform.lake.row_audit import Audit
from exp_platform.ledger.claim import claim, release
from exp_platform.pipelines.context import Say, open_stage, say_aloud
from exp_platform.pipelines.lazy_session import Session, SessionNeeded
from exp_platform.pipelines.reader import Reader
from exp_platform.pipelines.registry import FIRST, Stage
from exp_platform.pipelines.run import Run
from exp_platform.quality.audit import suite_audit, suite_parameters


def run_stage(
    run: Run, stage: Stage, *, session: Session | None = None, say: Say = say_aloud, now: datetime | None = None
) -> None:
    """Run one stage with its audit and its record; the first stage of a run claims the experiment.

    The stage of a stream is a run of its own, which claims the stream and releases it.
    """
    alone = run.by_hand or stage.of_streams
    if alone or stage is FIRST:
        claim(run.project, run.experiment_id, run.run_id, run.dt, run.started_by)
    try:
        with open_stage(run, stage, session=session, audit=audit_of, say=say, now=now) as ctx:
            stage.run(ctx)
    finally:
        if alone:  # no later stage will release the claim, and maintenance would wait 12 hours for it
            release(run.project, run.experiment_id, run.run_id)


def reused_whole(run: Run, stage: Stage, *, say: Say = say_aloud) -> bool:
    """Run a stage without a session; True when that was enough because earlier publications were reused.

    False when the stage asked for a session: then nothing is recorded, and the stage must be run with one.
    """
    try:
        run_stage(run, stage, session=Session.none(), say=say)
    except SessionNeeded:
        return False
    return True


def audit_of(read: Reader) -> Audit:
    """The audit by the tables' suites; it reads the tables that it compares with at the snapshots of the run."""
    parameters = {} if read.stage.of_streams else suite_parameters(read.run.experiment, read.run.metrics)
    return suite_audit(parameters, read.beside)
