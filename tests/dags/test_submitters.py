"""Drivers by spark-submit elsewhere, and which submitter a profile chooses.

spark-submit is a script that keeps its command line and prints what the real one prints.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from tests.dags.submitting import (
    PODS,
    SERVERLESS,
    STEPS,
    YARN,
    TaskInstance,
    binary,
    calls,
    leaves_a_word,
    master,
)

from exp_platform.airflow.jobs import StageFailure, submitter_of
from exp_platform.airflow.operator import StageOperator
from exp_platform.airflow.submit_by_emr import EmrServerless, EmrStep
from exp_platform.airflow.submit_by_spark import BesideTheTask, InTheCluster, OnKubernetes
from exp_platform.airflow.submitters import Ended, Job
from exp_platform.errors import ConfigError
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.airflow


# --- spark-submit in cluster mode ----------------------------------------------------------------------------------


def test_kubernetes_is_asked_for_a_driver_pod_of_the_image_whose_secrets_the_cluster_fills_in(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master(monkeypatch, "k8s://https://cluster:6443")
    job = made(PODS)
    pod = f"{job.key}-driver"
    said = "print('26/11/29 10:12:03 INFO LoggingPodStatusWatcherImpl: ' + 60 * 'x ' + 'exit code: 0')"
    submitter = OnKubernetes(job, binary=binary(tmp_path, said))
    submitter.submit()
    assert submitter.wait() == Ended(0)
    [words] = calls(tmp_path)
    assert words[words.index("--master") + 1] == "k8s://https://cluster:6443"
    assert words[words.index("--deploy-mode") + 1] == "cluster"
    conf = dict(word.split("=", 1) for flag, word in itertools.pairwise(words) if flag == "--conf")
    assert conf["spark.kubernetes.container.image"] == "registry/platform:1"
    assert conf["spark.kubernetes.namespace"] == "experiments"
    assert conf["spark.kubernetes.authenticate.driver.serviceAccountName"] == "driver"
    assert conf["spark.kubernetes.driver.secretKeyRef.EXP_CATALOG_PASSWORD"] == "platform:catalog"
    assert conf["spark.kubernetes.driverEnv.EXP_LAST_WORD"] == job.word_place
    assert conf["spark.kubernetes.driver.pod.name"] == pod and len(pod) <= 63
    assert not [key for key in conf if "JAVA_HOME" in key or "PYSPARK_PYTHON" in key]
    assert "local:///opt/platform/spark_jobs/build_assignments.py" in words
    assert submitter.log_link == f"https://logs/{pod}"
    submitter.cancel()
    assert calls(tmp_path)[-1] == ["--master", "k8s://https://cluster:6443", "--kill", f"experiments:{pod}"]


@pytest.mark.parametrize(("printed", "code"), [("exit code: 137", 137), ("exit code: 1", 1)])
def test_a_driver_pod_that_failed_is_a_failure_although_spark_submit_ends_well(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, code: int
) -> None:
    master(monkeypatch, "k8s://https://cluster")
    submitter = OnKubernetes(made(PODS), binary=binary(tmp_path, f"print({printed!r})"))
    submitter.submit()
    ended = submitter.wait()
    assert ended.exit_code == code and f"spark-submit: exit code {code}" in ended.sentence


def test_yarn_gets_the_driver_and_its_environment_and_a_task_that_ends_kills_the_application(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master(monkeypatch, "yarn")
    job = made(YARN)
    said = "print('Submitted application application_17_0001'); sys.exit(1)"
    submitter = InTheCluster(job, binary=binary(tmp_path, said))
    leaves_a_word(job, 65, "exp.outcomes: no rows", monkeypatch)
    submitter.submit()
    assert submitter.wait() == Ended(65, "exp.outcomes: no rows")
    [words] = calls(tmp_path)
    assert f"spark.yarn.appMasterEnv.EXP_LAST_WORD={job.word_place}" in words
    (tmp_path / "yarn").symlink_to(tmp_path / "spark-submit")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    submitter.cancel()
    assert calls(tmp_path)[-1] == ["application", "-kill", "application_17_0001"]


@pytest.mark.parametrize("host", ["spark://master:7077", "local[2]"])
def test_cluster_mode_is_refused_where_spark_runs_no_python_driver(
    made: Any, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    master(monkeypatch, host)
    with pytest.raises(AirflowFailException, match=r"submit.deploy_mode: found cluster, but the connection"):
        submitter_of(made(YARN))


# --- the choice ----------------------------------------------------------------------------------------------------


def test_the_profile_chooses_and_a_stage_without_a_session_always_runs_beside_its_task(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    master(monkeypatch, "k8s://https://cluster")
    chosen = [type(submitter_of(made(submit))) for submit in (SERVERLESS, STEPS, PODS)]
    assert chosen == [EmrServerless, EmrStep, OnKubernetes]
    assert type(submitter_of(made(SERVERLESS), needs_spark=False)) is BesideTheTask
    master(monkeypatch, "yarn")
    assert type(submitter_of(made(YARN))) is InTheCluster
    assert type(submitter_of(made({}))) is BesideTheTask


@pytest.mark.parametrize(
    ("submit", "said"),
    [
        ({"by": "emr-serverless"}, "emr-serverless needs emr.application_id and emr.execution_role"),
        ({"by": "emr-steps"}, "emr-steps needs emr.cluster_id"),
        ({"by": "kubernetes"}, "kubernetes needs kubernetes.image"),
        ({"by": "kubernetes", "outcomes": None}, "kubernetes needs outcomes and kubernetes.image"),
        (YARN | {"outcomes": None}, "spark-submit in deploy_mode cluster needs outcomes"),
        ({"by": "emr"}, "submit.by: found 'emr'"),
    ],
)
def test_an_incomplete_choice_is_refused_with_what_it_needs(made: Any, submit: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(submit)


def test_a_driver_elsewhere_with_a_local_master_is_refused(made: Any) -> None:
    with pytest.raises(ConfigError, match=r"spark.master: found local\[2\]; where submit.by is kubernetes, the driver"):
        submitter_of(made(PODS, spark_master="local[2]"))


@pytest.mark.parametrize(("code", "error"), [(65, AirflowFailException), (75, StageFailure), (1, StageFailure)])
def test_a_stage_on_kubernetes_fails_for_good_or_is_retried_by_the_exit_code_that_the_driver_left(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    master(monkeypatch, "k8s://https://cluster")
    job, ti = made(PODS), TaskInstance(tmp_path / "project" / "configs" / "dev.yaml")
    # The driver: it finds its place among the settings of its pod, and ends as `exit_with` does.
    driver = f"""
        place = next(w.split("=", 1)[1] for w in sys.argv if "EXP_LAST_WORD=" in w)
        pathlib.Path(place).parent.mkdir(exist_ok=True)
        pathlib.Path(place).write_text(json.dumps({{"exit_code": {code}, "sentence": "the reason"}}))
        print("26/02/01 INFO exit code: 1")
    """
    operator = StageOperator(task_id="t", stage=BY_NAME["build_assignments"], job_folder=tmp_path)
    operator._spark_binary = binary(tmp_path, driver)
    with pytest.raises(error, match="the reason"):
        operator.execute({"ti": ti, "task": operator})
    assert ti.pushed["failure"] == {"stage": "build_assignments", "exit_code": code, "sentence": "the reason"}
    assert job.key != Job(job.project, job.name, job.file, job.arguments, "dag/run/task/-1/2").key
