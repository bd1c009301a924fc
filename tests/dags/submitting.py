"""Choices of `submit` in a profile, and stand-ins for what runs a driver elsewhere."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from exp_platform.airflow.submitters import Job
from exp_platform.config.load import load_project
from exp_platform.pipelines import last_word

SECRET = "canary-of-the-catalog"
SERVERLESS = {
    "by": "emr-serverless",
    "emr": {
        "application_id": "00app",
        "execution_role": "arn:aws:iam::123456789012:role/jobs",
        "log_uri": "s3://logs/emr",
    },
}
STEPS = {"by": "emr-steps", "emr": {"cluster_id": "j-1", "log_uri": "s3://logs/emr"}}
PODS = {
    "by": "kubernetes",
    "kubernetes": {
        "image": "registry/platform:1",
        "namespace": "experiments",
        "service_account": "driver",
        "secrets": {"EXP_CATALOG_PASSWORD": "platform:catalog"},
    },
    "log_url": "https://logs/{id}",
}
YARN = {"by": "spark-submit", "deploy_mode": "cluster"}


def leaves_a_word(job: Job, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends elsewhere, as `exit_with` ends it."""
    monkeypatch.setenv(last_word.VARIABLE, job.word_place)
    last_word.leave(code, sentence, ["job.py", f"--config={job.project.path}"])


SAVES = """
    import json, os, pathlib, sys
    here = pathlib.Path(sys.argv[0]).parent
    with (here / "calls").open("a") as file:
        print(json.dumps(sys.argv[1:]), file=file)
"""


def binary(folder: Path, script: str) -> str:
    path = folder / "spark-submit"
    path.write_text(f"#!{sys.executable}\n" + textwrap.dedent(SAVES) + textwrap.dedent(script))
    path.chmod(0o755)
    return str(path)


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def master(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": host}))


def maker_of_jobs(profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Make jobs of a profile with the given settings of `submit`; the folder of last words is local."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}')
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    def make(submit: dict[str, Any], spark_master: str = "yarn") -> Job:
        content = yaml.safe_load(profile.read_text())
        content["catalog"] |= {"password": SECRET}
        content["spark"]["master"] = spark_master
        content["submit"] = {"outcomes": str(tmp_path / "words"), "poll_seconds": 0.001} | submit
        profile.write_text(yaml.safe_dump(content))
        words = (f"--config={profile}", "--experiment-id=exp_a_001", "--dt=2026-02-01")
        file, limit = tmp_path / "build_assignments.py", timedelta(hours=6)
        return Job(load_project(profile), "build_assignments", file, words, "dag/run/task/-1/1", limit)

    return make


class TaskInstance:
    """Hands out the resolved run and keeps what is pushed."""

    dag_id, run_id, task_id, map_index, try_number = "experiment_analysis", "r1", "build_assignments", -1, 2

    def __init__(self, profile: Path) -> None:
        self.run = {"config": str(profile), "experiment_id": "exp_a_001", "dt": "2026-02-01", "run_id": "r1"}
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str) -> dict[str, Any]:
        return self.run | {"generate_synth": False}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value
