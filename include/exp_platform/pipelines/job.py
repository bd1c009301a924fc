"""The command line of one stage: arguments in, exit code out, one sentence for a person when the stage is refused."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NoReturn

from exp_platform.config.load import Project, check_experiment_id, load_project
from exp_platform.errors import WIDTH, ConfigError, ExpError, cause_first, wrapped
from exp_platform.pipelines import last_word
from exp_platform.pipelines.causes import cause_of
from exp_platform.pipelines.dates import default_dt, parse_dt, past_dt
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import BY_HAND, Options, Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.spark.import_path import use_installed_packages

RUN_ID = r"[A-Za-z0-9][A-Za-z0-9_.~:+-]{0,199}"  # what Airflow allows too


class Parser(argparse.ArgumentParser):
    """A parser that ends bad usage with exit code 64 and one line, instead of the usage text."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the experiment, the day, the run and the configuration."""
    parser.add_argument("--config", default=None, help="profile; default $EXP_CONFIG, else configs/dev.yaml")
    parser.add_argument("--experiment-id", required=True)
    parser.add_argument("--dt", default=None, help="as-of date YYYY-MM-DD; default: the last day with raw data")
    parser.add_argument("--run-id", default=None, help="default: made from experiment, dt and time")
    parser.add_argument("--analysis-mode", default=None, help="itt or exposed; replaces the configured mode")


def add_synth_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the generator."""
    parser.add_argument("--seed", type=_seed, default=None)
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[:SIZE[:DAYS]]")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 0")
    return int(text)


def check_synth(generate_synth: bool, faults: Sequence[str], seed: int | None) -> None:
    """Refuse a fault or seed without generate_synth, where it would have no effect, and faults that don't exist."""
    given = [name for name, value in (("fault", faults), ("seed", seed)) if value not in (None, (), [])]
    if given and not generate_synth:
        raise ConfigError(f"{given[0]}: found {faults[0] if faults else seed}, allowed only with generate_synth")
    if faults:
        from exp_platform.synth.planted_faults import parse_fault

        for fault in faults:
            parse_fault(fault)


def run_of(arguments: argparse.Namespace, now: datetime) -> Run:
    """The run that the parsed arguments describe."""
    check_experiment_id(arguments.experiment_id)
    project = load_project(arguments.config, only=(arguments.experiment_id,))
    project = project.with_analysis_mode(arguments.experiment_id, arguments.analysis_mode)
    given = vars(arguments)
    options = Options(
        generate_synth=given.get("generate_synth", False),
        seed=given.get("seed"),
        fault=tuple(given.get("fault") or ()),
        full_refresh=given.get("full_refresh", False),
    )
    dt = dt_of_run(project, arguments.experiment_id, arguments.dt, now, options.generate_synth)
    if arguments.run_id and not re.fullmatch(RUN_ID, arguments.run_id):
        raise ConfigError(f"--run-id: found {arguments.run_id[:80]!r}, expected letters, digits or _.~:+-, at most 200")
    run_id = arguments.run_id or f"{arguments.experiment_id}__{dt}__{now:%Y%m%dT%H%M%S}"
    started_by = "airflow" if arguments.run_id else BY_HAND
    return Run(project, arguments.experiment_id, dt, run_id, options, arguments.analysis_mode, started_by)


def dt_of_run(
    project: Project, experiment_id: str, given: str | None, now: datetime, generate_synth: bool = False
) -> date:
    """The given as-of date, else the default one: the only place where a run without a date gets its day."""
    project.experiment(experiment_id)
    return past_dt(parse_dt(given), now) if given else default_dt(project, experiment_id, now, generate_synth)


def exit_with(error: BaseException) -> NoReturn:
    """End the process with the error's exit code; the last line on standard error is the sentence for a person."""
    if isinstance(error, ExpError):
        sentence, code = cause_first(str(error)), error.exit_code
    else:
        traceback.print_exception(error)
        sentence, code = f"fault: {cause_first(cause_of(error))}", 1
    last_word.leave(code, sentence)
    print(_for_people(sentence), file=sys.stderr, flush=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a JVM that is shutting down must not write below the sentence.
    os._exit(code)


def _for_people(sentence: str) -> str:
    """The sentence wrapped for a terminal; a program that reads it, such as the stage operator, gets one line."""
    return wrapped(sentence, min(WIDTH, shutil.get_terminal_size().columns)) if sys.stderr.isatty() else sentence


def main(stage_name: str, argv: Sequence[str] | None = None) -> None:
    """`spark-submit spark_jobs/<stage>.py --config C --experiment-id ID [--dt D] [--run-id R]`."""
    stage = BY_NAME[stage_name]
    parser = Parser(prog=f"{stage.name}.py", description=stage.title, allow_abbrev=False)
    add_run_arguments(parser)
    if "seed" in stage.takes:
        add_synth_arguments(parser)
    if stage.reuses:
        parser.add_argument("--full-refresh", action="store_true", help=stage.refresh)
    try:
        run = run_of(parser.parse_args(argv), datetime.now(UTC))
        if stage.needs_spark:
            use_installed_packages()
            if (code := submitted_again(run.project)) is not None:
                os._exit(code)
        run_stage(run, stage)
    except Exception as error:
        stop_session()
        exit_with(error)
    stop_session()


def submitted_again(project: Project) -> int | None:
    """The exit code of the same command under spark-submit, where this process is a bare Python; else None."""
    from exp_platform.spark.by_hand import submit_again_if_bare  # imports pyspark, which most stages never need

    return submit_again_if_bare(project)


def stop_session() -> None:
    """Stop this process's session, if there is one, so that Spark logs nothing after the last line."""
    if "pyspark" in sys.modules:
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session is not None:
            session.stop()
