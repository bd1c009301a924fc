"""Runs without Airflow, of every stage but the memo, with which those of Airflow are compared.

python -m tests.e2e.direct_runs PROFILE EXPERIMENT,DAY[,FAULT] ...

With a comma after the day, the experiment's events are generated first, with the fault that follows, if any.
"""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING

from exp_platform.config.load import Project, load_project
from exp_platform.ledger.claim import release
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import STAGES
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.spark.session import build_spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run_directly(
    project: Project, experiment_id: str, day: date, spark: SparkSession, generate: str | None = None
) -> None:
    """Run one day of an experiment, after its events have been generated where a fault, or "" for none, is named."""
    options = Options(generate_synth=generate is not None, fault=(generate,) if generate else ())
    run = Run(project, experiment_id, day, f"direct_{day}", options, started_by="direct run")
    session = Session.given(spark)
    for stage in STAGES:
        if (generate is not None or not stage.optional) and stage.name != "write_memo":
            run_stage(run, stage, session=session, say=lambda line: None)
    release(project, experiment_id, run.run_id)


def main(profile: str, *runs: str) -> None:
    """All runs in order, in one session."""
    project = load_project(profile)
    spark = build_spark_session("direct runs", project)
    for words in runs:
        experiment_id, day, *fault = words.split(",")
        run_directly(project, experiment_id, date.fromisoformat(day), spark, fault[0] if fault else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
