"""A stage as a process: exit code, last line on standard error, and a claim that is given back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.ledger.claim import claim, current_claim
from exp_platform.pipelines import job
from exp_platform.pipelines.dates import parse_dt
from exp_platform.pipelines.job import check_synth
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import BY_HAND, Run
from exp_platform.pipelines.run_stage import run_stage

ROOT = Path(__file__).resolve().parents[3]
ID, DT = "exp_checkout_button_001", date(2026, 1, 14)


def run_job(project: Project, job: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "spark_jobs" / f"{job}.py"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "include"), "EXP_CONFIG": str(project.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: --experiment-id"),
        ([f"--experiment-id={ID}", "--nope"], "unrecognized arguments: --nope"),
        ([f"--experiment-id={ID}\n"], "expected a small letter, then 2 to 63 small letters, digits or underscores"),
        ([f"--experiment-id={ID}x"], f"did you mean '{ID}'?"),
        ([f"--experiment-id={ID}", "--dt=20260114"], "dt: found '20260114', expected a date as YYYY-MM-DD"),
        ([f"--experiment-id={ID}", "--dt=2999-01-01"], "which has not begun"),
        ([f"--experiment-id={ID}", "--config=nope.yaml"], "no such file (nope.yaml)"),
        ([f"--experiment-id={ID}", "--run-id=../../evil"], "--run-id: found '../../evil', expected letters"),
        ([f"--experiment-id={ID}", "--analysis-mode=both"], "'both' is not one of itt, exposed"),
    ],
)
def test_bad_usage_and_bad_config_end_with_64_and_one_sentence(project: Project, words: list[str], said: str) -> None:
    done = run_job(project, "build_assignments", *words)
    assert done.returncode == 64
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_broken_file_is_told_with_the_cause_first_and_its_path_last(project: Project) -> None:
    file = project.root / "configs" / "experiments" / f"{ID}.yaml"
    file.write_text(file.read_text().replace("status: ", "state: "))
    done = run_job(project, "build_assignments", f"--experiment-id={ID}")
    assert done.returncode == 64
    first, last = done.stderr.strip().split(": ", 1)[0], done.stderr.strip().rsplit(" ", 1)[1]
    assert first in ("state", "status")
    assert re.fullmatch(rf"\(configs/experiments/{ID}\.yaml(:\d+)?\)", last)


def test_a_person_at_a_terminal_gets_the_sentence_wrapped_and_a_program_gets_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "the cause " * 15
    monkeypatch.setenv("COLUMNS", "60")
    assert job._for_people(sentence) == sentence
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    lines = job._for_people(sentence).splitlines()
    assert len(lines) == 3
    assert max(len(line) for line in lines) <= 60


def test_a_seed_below_zero_is_refused(project: Project) -> None:
    done = run_job(project, "generate_events", f"--experiment-id={ID}", "--seed=-1")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert "--seed: found '-1', expected a whole number from 0" in done.stderr


def test_a_superseded_run_ends_with_66_and_names_the_run_that_took_over(project: Project) -> None:
    claim(project, ID, "newer", DT, started_by="test")
    done = run_job(project, "analyze_results", f"--experiment-id={ID}", f"--dt={DT}", "--run-id=older")
    assert done.returncode == 66
    assert done.stderr.splitlines()[-1].startswith("superseded by run newer (dt 2026-01-14, claimed ")


@pytest.mark.parametrize(("stage", "expected"), [("build_assignments", True), ("analyze_results", False)])
def test_a_stage_with_spark_takes_pyspark_from_the_environment(
    stage: str, expected: bool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(job, "use_installed_packages", lambda: steps.append("path"))
    monkeypatch.setattr(job, "submitted_again", lambda _: steps.append("pyspark"))
    monkeypatch.setattr(job, "run_stage", lambda *_: steps.append("run"))
    job.main(stage, ["--config", str(project.path), "--experiment-id", "exp_checkout_button_001", "--dt", "2026-01-20"])
    assert steps == (["path", "pyspark", "run"] if expected else ["run"])


def test_a_stage_that_is_run_by_hand_gives_the_experiment_back_whatever_happens(project: Project) -> None:
    run = Run(project, ID, DT, "by_hand", started_by=BY_HAND)
    run_stage(run, BY_NAME["sync_registry"])
    held = current_claim(project, ID)
    assert held is not None
    assert (held.run_id, held.released_at is None) == ("by_hand", False)
    with pytest.raises(Exception, match=r"."):  # nothing has been published that it could read
        run_stage(replace(run, run_id="by_hand_2"), BY_NAME["write_memo"])
    held = current_claim(project, ID)
    assert held is not None
    assert (held.run_id, held.released_at is None) == ("by_hand_2", False)


def test_the_first_stage_of_a_run_keeps_the_claim_for_the_others(project: Project) -> None:
    run_stage(Run(project, ID, DT, "r1"), BY_NAME["sync_registry"])
    held = current_claim(project, ID)
    assert held is not None
    assert (held.run_id, held.released_at) == ("r1", None)


@pytest.mark.parametrize("text", ["20260201", "2026-W05-7", "2026-2-1", "2026-02-30", "2026-02-01\n", "٢٠٢٦-٠٢-٠١", ""])
def test_only_one_way_to_write_a_date_is_taken(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a date as YYYY-MM-DD"):
        parse_dt(text)


def test_a_fault_or_a_seed_without_generation_and_an_unknown_fault_are_refused() -> None:
    check_synth(True, ["srm:0.1"], 3)
    check_synth(False, [], None)
    with pytest.raises(ConfigError, match=r"fault: found srm:0\.1, allowed only with generate_synth"):
        check_synth(False, ["srm:0.1"], None)
    with pytest.raises(ConfigError, match="seed: found 0, allowed only with generate_synth"):
        check_synth(False, [], 0)
    with pytest.raises(ConfigError, match="fault 'srmm' not found"):
        check_synth(True, ["srmm:0.1"], None)
