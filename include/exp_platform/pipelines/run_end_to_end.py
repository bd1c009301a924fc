"""The whole pipeline for one experiment in one Spark session, without Airflow.

python -m exp_platform.pipelines.run_end_to_end --config configs/dev.yaml --experiment-id ID [--generate-synth] [--dt D]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from exp_platform.alerts.deliver import alert_after_run, alert_blocked_stream
from exp_platform.errors import ConfigError, ContractViolation, FencedConflict, StreamBlocked, Superseded
from exp_platform.ledger.claim import release
from exp_platform.memo.blocked import write_blocked_memo
from exp_platform.memo.summary import decision_summary
from exp_platform.pipelines.ingest_first import ingest_streams_of
from exp_platform.pipelines.job import (
    Parser,
    add_run_arguments,
    add_synth_arguments,
    check_synth,
    exit_with,
    run_of,
)
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import FIRST, Stage, stages_for
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import StreamRun
from exp_platform.quality.docs import refresh_docs_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Finished:
    """A finished run, and the seconds that each stage took."""

    run: Run
    seconds: dict[str, float]


def run_end_to_end(
    run: Run,
    *,
    spark: SparkSession | None = None,
    log: Callable[[str], None] = print,
    on_stage: Callable[[Stage], None] = lambda _: None,
) -> Finished:
    """Run every stage in order; a broken contract stops the run and is shown in the memo above the last numbers."""
    seconds: dict[str, float] = {}
    session = Session.given(spark) if spark is not None else Session.of(run)
    run, stage = replace(run, started_by="run_end_to_end"), FIRST

    def stream_blocked(stream: StreamRun, error: ContractViolation) -> None:
        alert_blocked_stream(stream.project, stream.experiment_id, stream.dt, stream.run_id, error, log=log)

    ingest_streams_of(run, session, log, stream_blocked)
    try:
        for stage in stages_for(run.options.generate_synth):
            on_stage(stage)
            started = time.monotonic()
            try:
                run_stage(run, stage, session=session, say=log)
            except FencedConflict as conflict:
                log(f"{stage.name}: starts a second time: {conflict}")
                run_stage(run, stage, session=session, say=log)
            seconds[stage.name] = round(time.monotonic() - started, 1)
    except ContractViolation as error:
        write_blocked_memo(run.project, run.experiment_id, run.dt, run.run_id, stage.name, str(error))
        refresh_docs_of(run.project, run.experiment_id)
        if isinstance(error, StreamBlocked):
            raise  # the stream has its alert
        alert_after_run(run.project, run.experiment_id, run.dt, run.run_id, error=error, log=log)
        raise
    except (Superseded, ConfigError):
        raise  # no alert: a newer run took over, or a person has just typed a wrong configuration or argument
    except Exception as error:
        alert_after_run(run.project, run.experiment_id, run.dt, run.run_id, error=error, log=log)
        raise
    finally:
        release(run.project, run.experiment_id, run.run_id)
    alert_after_run(run.project, run.experiment_id, run.dt, run.run_id, log=log)
    return Finished(run, seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, run every stage, print the decision and the seconds per stage."""
    parser = Parser(prog="run_end_to_end", description=__doc__, allow_abbrev=False)
    add_run_arguments(parser)
    add_synth_arguments(parser)
    parser.add_argument("--generate-synth", action="store_true", help="generate the experiment's events first")
    parser.add_argument("--full-refresh", action="store_true", help="reuse nothing: read and compute everything again")
    console = Console(stderr=True, highlight=False)
    try:
        arguments = parser.parse_args(argv)
        check_synth(arguments.generate_synth, arguments.fault, arguments.seed)
        run = run_of(arguments, datetime.now(UTC))
        finished = _with_progress(run, console)
        print(decision_summary(run.project, run.experiment_id, run.dt))
        print("seconds: " + ", ".join(f"{name} {took}" for name, took in finished.seconds.items()))
    except Exception as error:
        exit_with(error)
    sys.stdout.flush()
    os._exit(0)  # a JVM that is shutting down must not write below the decision


def _with_progress(run: Run, console: Console) -> Finished:
    stages = stages_for(run.options.generate_synth)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    progress = Progress(*columns, TimeElapsedColumn(), console=console)
    with progress if console.is_terminal else nullcontext():
        task = progress.add_task(run.experiment_id, total=len(stages), completed=-1)

        def on_stage(stage: Stage) -> None:
            progress.update(task, advance=1, description=stage.title)
            if not console.is_terminal:
                console.print(f"[{stages.index(stage) + 1}/{len(stages)}] {stage.title}", markup=False)

        finished = run_end_to_end(
            run,
            log=lambda line: console.print(f"  {line}", markup=False, soft_wrap=not console.is_terminal),
            on_stage=on_stage,
        )
        progress.update(task, advance=1, description=f"{run.experiment_id} as of {run.dt}")
    return finished


if __name__ == "__main__":
    main()
