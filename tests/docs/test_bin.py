"""The commands in bin/: the clone's environment from any folder, and one sentence where it is missing or was moved."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.pages import ROOT

from exp_platform.airflow.home import Home
from exp_platform.airflow.shell import airflow, spark_submit

PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
PROGRAMS = ("exp", "airflow", "spark-submit", "python")


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a shell in which nothing is set."""
    return subprocess.run(words, cwd=cwd, env={}, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def other_clone(tmp_path: Path) -> Path:
    """A clone with bin/ and nothing else."""
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    return tmp_path


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_clone_that_is_not_set_up_says_so_in_one_sentence(other_clone: Path, program: str) -> None:
    done = run(str(other_clone / "bin" / program), "--help", cwd=Path("/"))
    assert done.returncode == 64
    assert done.stderr == f"{program}: {other_clone} is not set up yet: run `make setup` there\n"


def test_a_clone_that_was_moved_says_from_where_and_what_to_do(other_clone: Path) -> None:
    (other_clone / ".venv" / "bin").mkdir(parents=True)
    (other_clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (other_clone / ".venv" / "pyvenv.cfg").write_text("command = /usr/bin/python3.11 -m venv /old place/.venv\n")
    (other_clone / ".setup").mkdir()
    (other_clone / ".setup" / "compiled-1-").touch()

    done = run(str(other_clone / "bin" / "exp"), "validate", cwd=Path("/"))

    assert done.returncode == 64
    assert f"moved from /old place to {other_clone}: run `make setup` there" in done.stderr


def test_python_finds_java_spark_and_the_airflow_of_make_up_from_any_folder(tmp_path: Path) -> None:
    seen = json.loads(run(str(ROOT / "bin" / "python"), "-c", PRINT, cwd=tmp_path).stdout)
    settings = {k: v for k, v in Home(ROOT / "data" / "airflow").environment().items() if k.startswith("AIRFLOW")}
    assert seen["AIRFLOW_HOME"] == str(ROOT / "data" / "airflow")
    assert settings.items() <= seen.items()
    assert (Path(seen["JAVA_HOME"]) / "bin" / "java").exists()
    assert (Path(seen["SPARK_HOME"]) / "bin" / "spark-submit").exists()
    assert seen["PYSPARK_PYTHON"] == str(ROOT / ".venv" / "bin" / "python")


def test_a_link_to_a_command_finds_the_clone(tmp_path: Path) -> None:
    (tmp_path / "exp").symlink_to(ROOT / "bin" / "exp")
    done = run(str(tmp_path / "exp"), "validate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "are valid" in done.stdout


def test_a_job_gets_the_master_and_the_jars_of_the_profile_that_it_names_and_typed_options_win(tmp_path: Path) -> None:
    profile = tmp_path / "other.yaml"
    text = (ROOT / "configs" / "dev.yaml").read_text()
    profile.write_text(text.replace("master: local[2]", "master: local[7]"))
    typed = ["--conf", "spark.driver.memory=5g", "spark_jobs/ingest_events.py", f"--config={profile}"]

    command, environment = spark_submit(Home(tmp_path), typed)

    assert command[0] == f"{environment['SPARK_HOME']}/bin/spark-submit"
    assert command[1:3] == ["--master", "local[7]"]
    assert f"spark.driver.extraClassPath={ROOT}/.jars/*" in command
    assert command[-4:] == typed


def test_a_job_of_the_clone_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, _ = spark_submit(Home(tmp_path), ["spark_jobs/ingest_events.py", "--dt=2026-02-01"])
    assert command[-2:] == [str(ROOT / "spark_jobs" / "ingest_events.py"), "--dt=2026-02-01"]


def test_airflow_makes_its_database_before_a_command_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Path] = []
    monkeypatch.setattr(Home, "prepare", lambda home, slots: prepared.append(home.folder))

    airflow(Home(tmp_path), ["dags", "list", "--help"])
    assert prepared == []
    airflow(Home(tmp_path), ["dags", "list"])
    assert prepared == [tmp_path]
