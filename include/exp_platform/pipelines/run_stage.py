"""The one way to run a stage, for spark-submit, `run_end_to_end`, `exp reproduce` and the detection matrix."""

from __future__ import annotations

from datetime import datetime

from exp_platform.lake.audit import Audit
from exp_platform.ledger.claim import claim, release
from exp_platform.pipelines.context import Say, open_stage, say_aloud
from exp_platform.pipelines.reader import Reader
from exp_platform.pipelines.registry import FIRST, Stage
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.session import Session, SessionNeeded
from exp_platform.quality.audit import suite_audit, suite_parameters


def run_stage(
    run: Run, stage: Stage, *, session: Session | None = None, say: Say = say_aloud, now: datetime | None = None
) -> None:
    """Open the stage, run it behind its audit, and leave its record; the first stage of a run claims the experiment."""
    if run.by_hand or stage is FIRST:
        claim(run.project, run.experiment_id, run.run_id, run.dt, run.started_by)
    try:
        with open_stage(run, stage, session=session, audit=audit_of, say=say, now=now) as ctx:
            stage.run(ctx)
    finally:
        if run.by_hand:  # no later stage of this run will do it, and maintenance would wait for it for hours
            release(run.project, run.experiment_id, run.run_id)


def reused_whole(run: Run, stage: Stage, *, say: Say = say_aloud) -> bool:
    """Run a stage that needs no session after all, because an earlier publication answers for every table of it.

    False when the stage asks for a session: nothing is recorded then, and the stage is to be run with one.
    """
    try:
        run_stage(run, stage, session=Session.none(), say=say)
    except SessionNeeded:
        return False
    return True


def audit_of(read: Reader) -> Audit:
    """The suites of the tables that a stage publishes; other tables are compared at the snapshots of the run."""
    return suite_audit(suite_parameters(read.run.experiment, read.run.metrics), read.beside)
