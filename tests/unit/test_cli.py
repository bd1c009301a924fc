"""The `exp` command as a person types it: wrong words get one sentence and 64."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project

ID = "exp_checkout_button_001"


def exp(project: Project, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--config", str(project.path)])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "exp_checkout_buton_001"], f"did you mean '{ID}'?"),
        (["show", ID], f"{ID} has no results yet: `exp run {ID}`"),
        (["show", ID, "--dt", "yesterday"], "dt: found 'yesterday', expected a date as YYYY-MM-DD"),
        (["show", ID, "--dt", "2026-01-14"], f"`exp run {ID} --dt 2026-01-14` (there are results as of no day)"),
        (["power", "revenu"], "metric 'revenu' not found; did you mean 'revenue'?"),
        (["power", "revenue", "--experiment-id", "exp_nope"], "experiment 'exp_nope' not found"),
        (["reproduce", "nope"], "run 'nope' is not in ops.run_manifest"),
    ],
)
def test_a_wrong_word_is_one_sentence(project: Project, words: list[str], said: str) -> None:
    code, output = exp(project, *words)
    assert code == 64
    assert said in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", ID, "--dt", "20260114"], "dt: found '20260114', expected a date as YYYY-MM-DD"),
        (["run", ID, "--fault", "srm:0.4"], "fault: found srm:0.4, allowed only with generate_synth"),
        (["run", ID, "--generate-synth", "--fault", "srmm:0.4"], "fault 'srmm' not found"),
        (["synth", ID, "--seed", "-1"], "--seed: found '-1', expected a whole number from 0"),
    ],
)
def test_what_runs_in_a_process_of_its_own_hands_its_sentence_and_exit_code_on(
    project: Project, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _ = exp(project, *words)
    assert code == 64
    shown = capfd.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_a_profile_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["list", "--config", str(tmp_path / "nope.yaml")])
    assert done.exit_code == 64
    assert "nope.yaml: no such file" in done.output


def test_the_list_shows_what_never_ran_and_what_is_refused(project: Project) -> None:
    (project.root / "configs" / "experiments" / "exp_broken.yaml").write_text("experiment_id: [\n")
    code, output = exp(project, "list")
    assert code == 0
    lines = {line.split()[0]: line for line in output.splitlines()[1:]}
    assert "never run" in lines[ID]
    assert "see `exp validate`" in lines["exp_broken"]


def test_validate_names_the_broken_file_and_ends_with_64(project: Project) -> None:
    assert exp(project, "validate")[0] == 0
    (project.root / "configs" / "experiments" / "exp_broken.yaml").write_text("experiment_id: [\n")
    code, output = exp(project, "validate")
    assert code == 64
    assert "exp_broken.yaml" in output
    assert "1 refused" in output


def test_the_doctor_tells_what_is_wrong_and_goes_on(project: Project) -> None:
    (project.root / "configs" / "experiments" / "exp_broken.yaml").write_text("experiment_id: [\n")
    code, output = exp(project, "doctor")
    assert code == 1
    assert "WRONG  configuration" in output
    assert "ok     java" in output


def test_the_doctor_writes_where_a_run_writes(project: Project) -> None:
    memos = project.root / project.profile.memo_dir
    assert "ok     places" in exp(project, "doctor")[1]
    assert not list(memos.iterdir()), "the file is deleted again"
    memos.rmdir()
    memos.write_text("a file where the folder should be")
    code, output = exp(project, "doctor")
    assert code == 1
    assert f"WRONG  places         {memos} cannot be written to" in output
