"""The operator against a spark-submit that does what the test wants."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from exp_platform.airflow.jobs import StageFailure, StageRetryPolicy
from exp_platform.airflow.links import MemoLink
from exp_platform.airflow.operator import StageOperator
from exp_platform.airflow.submit import spark_home
from exp_platform.pipelines.registry import BY_NAME

pytestmark = pytest.mark.airflow

STAGE = BY_NAME["build_assignments"]
JSON_CONNECTION = '{"conn_type": "spark", "host": "local[1]"}'


class FakeTaskInstance:
    """Hands out the resolved run and keeps what is pushed."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str) -> dict[str, Any]:
        return self.run

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class Rig:
    """A stage operator whose spark-submit is a script of the test."""

    def __init__(self, folder: Path, profile: Path, **run: Any) -> None:
        self.folder = folder
        self.binary = folder / "spark-submit"
        self.run = {"config": str(profile), "experiment_id": "exp_a_001", "dt": "2026-02-01", "run_id": "r1"} | run
        self.run.setdefault("generate_synth", False)
        self.ti = FakeTaskInstance(self.run)

    def operator(self, script: str, **kwargs: Any) -> StageOperator:
        self.binary.write_text(f"#!{sys.executable}\n" + textwrap.dedent(script))
        self.binary.chmod(0o755)
        operator = StageOperator(task_id="build_assignments", stage=STAGE, job_folder=self.folder, **kwargs)
        operator._spark_binary = str(self.binary)
        return operator

    def execute(self, script: str, **kwargs: Any) -> StageOperator:
        operator = self.operator(script, **kwargs)
        operator.execute({"ti": self.ti, "task": operator})
        return operator


@pytest.fixture
def rig(tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", JSON_CONNECTION)
    return Rig(tmp_path, profile)


def saved(rig: Rig, name: str) -> Any:
    return json.loads((rig.folder / name).read_text())


SAVE_ARGUMENTS = """
    import json, os, pathlib, sys
    here = pathlib.Path(sys.argv[0]).parent
    (here / "argv").write_text(json.dumps(sys.argv[1:]))
    (here / "env").write_text(json.dumps(dict(os.environ)))
"""


def test_the_master_is_the_one_of_the_connection(rig: Rig) -> None:
    rig.execute(SAVE_ARGUMENTS)
    arguments = saved(rig, "argv")
    assert arguments[arguments.index("--master") + 1] == "local[1]"


def test_a_missing_connection_is_refused_instead_of_becoming_yarn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT")
    monkeypatch.setattr("exp_platform.airflow.submit.GuardedSparkSubmitHook.get_connection", _not_found)
    with pytest.raises(AirflowFailException, match=r"'spark_default' is missing; create it as JSON"):
        rig.execute(SAVE_ARGUMENTS)


def _not_found(self: object, conn_id: str) -> None:
    from airflow.sdk.exceptions import AirflowNotFoundException

    raise AirflowNotFoundException(conn_id)


def test_a_uri_connection_that_names_no_master_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "local://local")
    with pytest.raises(AirflowFailException, match="is not a Spark master"):
        rig.execute(SAVE_ARGUMENTS)


def test_the_job_gets_the_run_as_values_and_only_the_options_that_it_takes(rig: Rig) -> None:
    rig.run |= {"seed": 0, "fault": "srm:0.1", "full_refresh": True, "analysis_mode": None}
    rig.execute(SAVE_ARGUMENTS)
    words = saved(rig, "argv")
    assert words[words.index("--experiment-id=exp_a_001") - 1 :] == [
        f"--config={rig.run['config']}",
        "--experiment-id=exp_a_001",
        "--dt=2026-02-01",
        "--run-id=r1",
        "--full-refresh",
    ]


def test_a_stage_whose_rows_are_all_reused_starts_no_jvm(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "exp_platform.pipelines.run_stage.reused_whole", lambda run, stage: asked.append(stage.name) is None
    )
    rig.execute(SAVE_ARGUMENTS)
    assert asked == ["build_assignments"]
    assert not (rig.folder / "argv").exists()


def test_the_job_sees_this_environment_whatever_the_shell_had(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", "/somewhere/else")
    rig.execute(SAVE_ARGUMENTS)
    environment = saved(rig, "env")
    assert environment["PYSPARK_PYTHON"] == sys.executable
    assert environment["SPARK_HOME"] == str(spark_home())
    assert (Path(environment["JAVA_HOME"]) / "bin" / "java").exists()


def test_a_stage_leads_to_the_memo_of_its_day(rig: Rig) -> None:
    operator = rig.execute(SAVE_ARGUMENTS)
    key: Any = None
    assert MemoLink().get_link(operator, ti_key=key) == "/experiments/memos/exp_a_001/2026-02-01.html"
    assert MemoLink().get_link(rig.operator(SAVE_ARGUMENTS), ti_key=key) == ""


def test_the_real_binary_is_absolute_and_of_this_environment(rig: Rig) -> None:
    operator = StageOperator(task_id="t", stage=STAGE, job_folder=rig.folder)
    assert operator._spark_binary == str(spark_home() / "bin" / "spark-submit")
    assert os.access(operator._spark_binary, os.X_OK)


@pytest.mark.parametrize("code", [64, 65, 66])
def test_bad_config_broken_contracts_and_superseded_runs_fail_for_good_with_the_jobs_sentence(
    rig: Rig, code: int
) -> None:
    script = f"""
        import sys
        print("read 10 rows")
        sys.stderr.write("outcomes: 3 of 10 rows have no user_id\\n12:00:01 WARN Shutdown: late words\\n")
        sys.exit({code})
    """
    with pytest.raises(AirflowFailException, match=r"^outcomes: 3 of 10 rows have no user_id$"):
        rig.execute(script)
    assert rig.ti.pushed["failure"] == {
        "stage": "build_assignments",
        "exit_code": code,
        "sentence": "outcomes: 3 of 10 rows have no user_id",
    }


def test_a_long_sentence_is_wrapped_in_log_and_error_and_whole_for_alert_and_memo(
    rig: Rig,
) -> None:
    path = "/data/raw/exp_platform/exp_a_001/outcomes/dt=2026-02-01/part-00000-of-00016.parquet"
    sentence = f"raw data are refused: outcomes: the column user_id is missing; mend the files and run again ({path})"
    with pytest.raises(AirflowFailException) as caught:
        rig.execute(f"import sys; print({sentence!r}, file=sys.stderr); sys.exit(65)")
    lines = str(caught.value).splitlines()
    assert lines == [
        "raw data are refused: outcomes: the column user_id is missing; mend the files",
        "  and run again",
        f"  ({path})",
    ]
    assert rig.ti.pushed["failure"]["sentence"] == sentence


@pytest.mark.parametrize("code", [1, 75])
def test_faults_and_conflicts_may_be_retried(rig: Rig, code: int) -> None:
    with pytest.raises(StageFailure, match="disk full") as caught:
        rig.execute(f"import sys; print('disk full'); sys.exit({code})")
    assert caught.value.exit_code == code
    assert str(caught.value).splitlines() == ["disk full", f"  exit code {code} of build_assignments"]
    assert rig.ti.pushed["failure"]["sentence"] == "disk full"
    assert not isinstance(caught.value, AirflowFailException)


def test_a_killed_job_is_named_as_killed(rig: Rig) -> None:
    with pytest.raises(StageFailure, match=r"ended by SIGKILL .*no memory left") as caught:
        rig.execute("import os; print('reading'); os.kill(os.getpid(), 9)")
    assert caught.value.exit_code == 137


def decision(operator: StageOperator, code: int, try_number: int, max_tries: int) -> RetryAction:
    context: Any = {"task": operator}
    return StageRetryPolicy().evaluate(StageFailure(code, "x"), try_number, max_tries, context).action


def test_a_fenced_conflict_is_retried_once_and_other_faults_as_often_as_the_task_says(rig: Rig) -> None:
    operator = rig.operator("")
    assert decision(operator, 75, try_number=1, max_tries=3) is RetryAction.RETRY
    assert decision(operator, 75, try_number=2, max_tries=3) is RetryAction.FAIL
    assert decision(operator, 1, try_number=2, max_tries=3) is RetryAction.DEFAULT


def test_a_cleared_task_may_meet_a_conflict_again(rig: Rig) -> None:
    assert decision(rig.operator(""), 75, try_number=3, max_tries=5) is RetryAction.RETRY


SPAWNS_A_TREE = """
    import os, pathlib, subprocess, sys, time
    here = pathlib.Path(sys.argv[0]).parent
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", stubborn])
    (here / "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
"""


def wait_for_pids(folder: Path) -> list[int]:
    for _ in range(1200):
        file = folder / "pids"
        if file.exists() and len(file.read_text().split()) == 2:
            return [int(pid) for pid in file.read_text().split()]
        time.sleep(0.05)
    raise AssertionError("the fake spark-submit never started")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def all_gone(pids: list[int]) -> bool:
    for _ in range(100):
        if all(gone(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


@needs_proc
def test_an_execution_timeout_ends_the_whole_tree_even_a_child_that_ignores_sigterm(rig: Rig) -> None:
    operator = rig.operator(SPAWNS_A_TREE)

    def alarm(signum: int, frame: object) -> None:
        raise AirflowTaskTimeout("too long")

    def ring_when_it_runs() -> None:
        wait_for_pids(rig.folder)
        os.kill(os.getpid(), signal.SIGALRM)

    previous = signal.signal(signal.SIGALRM, alarm)
    threading.Thread(target=ring_when_it_runs, daemon=True).start()
    try:
        with pytest.raises((AirflowTaskTimeout, AirflowException)):
            operator.execute({"ti": rig.ti, "task": operator})
        operator.on_kill()
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert all_gone(wait_for_pids(rig.folder))


@needs_proc
def test_when_the_task_is_killed_hard_nothing_of_its_application_lives_on(rig: Rig) -> None:
    rig.operator(SPAWNS_A_TREE)
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_operator import Rig, SPAWNS_A_TREE
        Rig(Path({str(rig.folder)!r}), Path({rig.run["config"]!r})).execute(SPAWNS_A_TREE)
    """
    task = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=dict(os.environ))
    pids = wait_for_pids(rig.folder)
    assert not any(gone(pid) for pid in pids)
    task.kill()
    task.wait()
    assert all_gone(pids)
