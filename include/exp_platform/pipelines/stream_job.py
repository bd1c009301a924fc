"""The command line of `ingest_streams`: one stream by name, arguments in, exit code out."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from exp_platform.config.load import load_project
from exp_platform.errors import ConfigError
from exp_platform.pipelines.dates import parse_dt, past_dt
from exp_platform.pipelines.job import RUN_ID, Parser, exit_with, stop_session, submitted_again
from exp_platform.pipelines.registry import INGEST_STREAMS
from exp_platform.pipelines.run import BY_HAND
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import StreamRun, stream_run


def run_of(arguments: argparse.Namespace, now: datetime) -> StreamRun:
    """The run that the parsed arguments describe; dt is yesterday unless it is given."""
    project = load_project(arguments.config, only=())
    dt = past_dt(parse_dt(arguments.dt), now) if arguments.dt else now.date() - timedelta(days=1)
    if arguments.run_id and not re.fullmatch(RUN_ID, arguments.run_id):
        raise ConfigError(f"--run-id: found {arguments.run_id[:80]!r}, expected letters, digits or _.~:+-, at most 200")
    run_id = arguments.run_id or f"{arguments.stream}__{dt}__{now:%Y%m%dT%H%M%S}"
    return stream_run(
        project,
        arguments.stream,
        dt,
        run_id,
        full_refresh=arguments.full_refresh,
        started_by="airflow" if arguments.run_id else BY_HAND,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """`spark-submit spark_jobs/ingest_streams.py --config C --stream NAME [--dt D] [--run-id R]`."""
    parser = Parser(prog="ingest_streams.py", description=INGEST_STREAMS.title, allow_abbrev=False)
    parser.add_argument("--config", default=None, help="profile; default $EXP_CONFIG, else configs/dev.yaml")
    parser.add_argument("--stream", required=True, help="name of a file in configs/streams/")
    parser.add_argument("--dt", default=None, help="day as YYYY-MM-DD by which lateness is judged; default yesterday")
    parser.add_argument("--run-id", default=None, help="default: made from stream, dt and time")
    parser.add_argument("--full-refresh", action="store_true", help=INGEST_STREAMS.refresh)
    try:
        run = run_of(parser.parse_args(argv), datetime.now(UTC))
        if (code := submitted_again(run.project)) is not None:
            os._exit(code)
        run_stage(run, INGEST_STREAMS)
    except Exception as error:
        stop_session()
        exit_with(error)
    stop_session()
