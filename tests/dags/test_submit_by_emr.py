"""Drivers on EMR: what it is asked, checked by botocore against its own model, and what a task makes of its answer."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from tests.dags.submitting import (
    PODS,
    SECRET,
    SERVERLESS,
    STEPS,
    TaskInstance,
    leaves_a_word,
    master,
)

from exp_platform.airflow.jobs import StageFailure, submitter_of
from exp_platform.airflow.operator import StageOperator
from exp_platform.airflow.submit_by_emr import EmrServerless, EmrStep
from exp_platform.airflow.submitters import Ended, Job, asked_until
from exp_platform.errors import ConfigError
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.airflow


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
