"""Drivers that run elsewhere: what each cluster is asked, and what a task makes of its answer.

No cluster is there. EMR's requests are checked by botocore against the service's own model; spark-submit is a script
that keeps its command line and prints what the real one prints.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from botocore.stub import ANY, Stubber

from exp_platform.airflow.jobs import StageFailure, submitter_of
from exp_platform.airflow.operator import StageOperator
from exp_platform.airflow.submit_by_emr import EmrServerless, EmrStep
from exp_platform.airflow.submit_by_spark import BesideTheTask, InTheCluster, OnKubernetes
from exp_platform.airflow.submitters import Ended, Job, asked_until
from exp_platform.config.load import load_project
from exp_platform.errors import ConfigError
from exp_platform.pipelines import last_word
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.airflow

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


@pytest.fixture
def made(profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """A job of a profile with these settings of `submit`; the folder of last words is local."""
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


def leaves_a_word(job: Job, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends elsewhere, as `exit_with` ends it."""
    monkeypatch.setenv(last_word.VARIABLE, job.word_place)
    last_word.leave(code, sentence, ["job.py", f"--config={job.project.path}"])


# --- EMR Serverless ------------------------------------------------------------------------------------------------


ARN = "arn:aws:emr-serverless:eu-west-1:123456789012:/applications/00app/jobruns/00run"
STARTED = {"applicationId": "00app", "jobRunId": "00run", "arn": ARN}


def serverless(job: Job) -> tuple[EmrServerless, Stubber]:
    submitter = EmrServerless(job, sleep=lambda seconds: None)
    return submitter, Stubber(submitter.hook.conn)


def state_of(state: str, details: str = "done") -> dict[str, Any]:
    about = STARTED | {"createdBy": "arn:aws:iam::123456789012:user/airflow"}
    about |= {"executionRole": "arn:aws:iam::123456789012:role/jobs", "releaseLabel": "emr-8", "createdAt": 0}
    about |= {"updatedAt": 0, "jobDriver": {"sparkSubmit": {"entryPoint": "x"}}}
    return {"jobRun": about | {"state": state, "stateDetails": details}}


ABOUT = {"applicationId": "00app", "jobRunId": "00run"}


def test_emr_serverless_is_asked_for_one_job_run_of_the_image_by_a_token_of_its_attempt(made: Any) -> None:
    job = made(SERVERLESS | {"environment": {"EXP_CATALOG_PASSWORD": "EMR.secret@catalog"}})
    submitter, stub = serverless(job)
    request = submitter.request()
    stub.add_response("start_job_run", STARTED, request)
    with stub:
        assert submitter.submit() == "00run"
    assert request["jobDriver"]["sparkSubmit"] == {
        "entryPoint": "local:///opt/platform/spark_jobs/build_assignments.py",
        "entryPointArguments": [
            "--config=/opt/platform/configs/dev.yaml",
            "--experiment-id=exp_a_001",
            "--dt=2026-02-01",
        ],
    }
    [defaults] = request["configurationOverrides"]["applicationConfiguration"]
    conf = defaults["properties"]
    assert conf["spark.emr-serverless.driverEnv.EXP_CATALOG_PASSWORD"] == "EMR.secret@catalog"
    assert conf["spark.emr-serverless.driverEnv.EXP_LAST_WORD"] == job.word_place
    assert conf["spark.emr-serverless.driverEnv.EXP_SUBMITTED_AGAIN"] == "1"
    assert conf["spark.driver.memory"] == "1g"
    assert request["executionTimeoutMinutes"] == 360
    assert request["clientToken"] == EmrServerless(job).request()["clientToken"]
    assert "00run" in submitter.log_link and "eu-west-1" in submitter.log_link


def test_no_path_of_this_machine_and_no_secret_is_sent_to_emr(made: Any) -> None:
    job = made(SERVERLESS)
    sent = json.dumps(EmrServerless(job).request()) + json.dumps(EmrStep(made(STEPS)).step())
    sent = sent.replace(json.dumps(job.word_place)[1:-1], "")
    assert SECRET not in sent
    assert str(job.project.root) not in sent and sys.prefix not in sent


@pytest.mark.parametrize("submit", [SERVERLESS, STEPS, PODS])
def test_a_secret_in_the_environment_is_refused_before_anything_is_asked(
    made: Any, submit: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "k8s://https://cluster"}')
    job = made(submit | {"environment": {"EXP_CATALOG_PASSWORD": SECRET}})
    with pytest.raises(ConfigError, match=r"the value of catalog.password would stand in the request"):
        submitter_of(job).submit()


def test_a_job_run_that_succeeds_after_some_questions_has_ended_well(made: Any) -> None:
    submitter, stub = serverless(made(SERVERLESS))
    submitter.run_id = "00run"
    for state in ("SUBMITTED", "QUEUED", "RUNNING", "CANCELLING", "SUCCESS"):
        stub.add_response("get_job_run", state_of(state), ABOUT)
    with stub:
        assert submitter.wait() == Ended(0)


@pytest.mark.parametrize(("code", "sentence"), [(65, "exp.outcomes: 3 rows are refused"), (75, "a conflict")])
def test_the_exit_code_and_sentence_of_a_failed_job_run_are_the_jobs_own(
    made: Any, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made(SERVERLESS)
    submitter, stub = serverless(job)
    submitter.run_id = "00run"
    leaves_a_word(job, code, sentence, monkeypatch)
    stub.add_response("get_job_run", state_of("FAILED", "ExitCode: 1"), ABOUT)
    with stub:
        assert submitter.wait() == Ended(code, sentence)
    assert not Path(job.word_place).exists()  # another attempt never reads it


@pytest.mark.parametrize(("state", "code"), [("FAILED", 1), ("CANCELLED", 143)])
def test_a_job_run_that_left_no_word_is_a_fault_that_may_be_retried_with_what_emr_says(
    made: Any, state: str, code: int
) -> None:
    submitter, stub = serverless(made(SERVERLESS))
    submitter.run_id = "00run"
    stub.add_response("get_job_run", state_of(state, "no memory left"), ABOUT)
    with stub:
        ended = submitter.wait()
    assert ended.exit_code == code
    assert "build_assignments ended without a word of its own (EMR: " in ended.sentence
    assert "no memory left" in ended.sentence and "its log: https://" in ended.sentence


def test_a_cluster_that_does_not_answer_for_a_moment_is_asked_again_and_given_up_in_the_end(made: Any) -> None:
    submitter, stub = serverless(made(SERVERLESS))
    submitter.run_id = "00run"
    stub.add_client_error("get_job_run", "ThrottlingException", "slow down")
    stub.add_response("get_job_run", state_of("SUCCESS"), ABOUT)
    with stub:
        assert submitter.wait() == Ended(0)

    def gone() -> Ended | None:
        raise OSError("Connection refused")

    ended = asked_until(gone, 0, lambda seconds: None)
    assert ended.exit_code == 1 and "(Connection refused); it may still run" in ended.sentence


def test_a_job_that_emr_does_not_take_is_one_sentence_and_may_be_tried_again(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter, stub = serverless(made(SERVERLESS))
    stub.add_client_error("start_job_run", "ValidationException", "the application is stopped")
    monkeypatch.setattr("exp_platform.airflow.jobs.submitter_of", lambda job, **about: submitter)
    ti = TaskInstance(tmp_path / "project" / "configs" / "dev.yaml")
    operator = StageOperator(task_id="t", stage=BY_NAME["build_assignments"], job_folder=tmp_path)
    with (
        stub,
        pytest.raises(StageFailure, match=r"(?s)EMR did not take build_assignments: .*the application is") as caught,
    ):
        operator.execute({"ti": ti, "task": operator})
    assert caught.value.exit_code == ti.pushed["failure"]["exit_code"] == 1


def test_a_cancelled_task_cancels_its_job_run(made: Any) -> None:
    submitter, stub = serverless(made(SERVERLESS))
    submitter.cancel()  # nothing was started: nothing is asked
    submitter.run_id = "00run"
    stub.add_response("cancel_job_run", ABOUT, ABOUT)
    with stub:
        submitter.cancel()
        stub.assert_no_pending_responses()


def test_when_a_tasks_supervisor_is_killed_a_job_elsewhere_is_cancelled_and_one_beside_ends_with_its_lifeline(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master(monkeypatch, "local[1]")
    cancelled: list[str] = []
    operator = StageOperator(task_id="t", stage=BY_NAME["build_assignments"], job_folder=tmp_path)
    operator.cancel_elsewhere()
    for submit in ({}, SERVERLESS):
        submitter = submitter_of(made(submit))
        monkeypatch.setattr(submitter, "cancel", partial(cancelled.append, type(submitter).__name__))
        operator._submitter = submitter
        operator.cancel_elsewhere()
    assert cancelled == ["EmrServerless"]


# --- EMR steps -----------------------------------------------------------------------------------------------------


def test_an_emr_step_is_spark_submit_on_yarn_with_the_driver_in_the_cluster(made: Any) -> None:
    job = made(STEPS | {"conf": {"spark.yarn.queue": "night"}})
    submitter = EmrStep(job)
    stub = Stubber(submitter.hook.conn)
    answer = {"StepIds": ["s-1"], "ResponseMetadata": {"HTTPStatusCode": 200}}
    stub.add_response("add_job_flow_steps", answer, {"JobFlowId": "j-1", "Steps": [submitter.step()]})
    with stub:
        assert submitter.submit() == "s-1"
    step = submitter.step()["HadoopJarStep"]
    assert step["Jar"] == "command-runner.jar"
    assert step["Args"][:3] == ["spark-submit", "--deploy-mode", "cluster"]
    assert f"spark.yarn.appMasterEnv.EXP_LAST_WORD={job.word_place}" in step["Args"]
    assert "spark.yarn.queue=night" in step["Args"]
    assert step["Args"][-4:-2] == [
        "local:///opt/platform/spark_jobs/build_assignments.py",
        "--config=/opt/platform/configs/dev.yaml",
    ]
    assert submitter.log_link == "s3://logs/emr/j-1/steps/s-1/"


@pytest.mark.parametrize(("state", "code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 143), ("INTERRUPTED", 143)])
def test_the_end_of_a_step_decides_on_a_retry(made: Any, state: str, code: int) -> None:
    submitter = EmrStep(made(STEPS), sleep=lambda seconds: None)
    submitter.step_id = "s-1"
    stub = Stubber(submitter.hook.conn)
    for found in ("PENDING", "RUNNING", state):
        status = {"State": found, "FailureDetails": {"Message": "a node was lost"}}
        stub.add_response(
            "describe_step", {"Step": {"Id": "s-1", "Status": status}}, {"ClusterId": "j-1", "StepId": "s-1"}
        )
    with stub:
        ended = submitter.wait()
    assert ended.exit_code == code
    assert ("a node was lost" in ended.sentence) is (code != 0)


def test_a_cancelled_task_cancels_its_step(made: Any) -> None:
    submitter = EmrStep(made(STEPS))
    submitter.step_id = "s-1"
    stub = Stubber(submitter.hook.conn)
    stub.add_response("cancel_steps", {}, {"ClusterId": "j-1", "StepIds": ["s-1"], "StepCancellationOption": ANY})
    with stub:
        submitter.cancel()
        stub.assert_no_pending_responses()


# --- spark-submit in cluster mode ----------------------------------------------------------------------------------

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
