"""The `exp` command as a person types it: wrong words get one sentence and 64."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project
from exp_platform.ledger.metric_versions import bind

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
    assert "1 experiments refused" in output


def test_validate_finds_mistakes_that_nobody_uses_and_definitions_that_changed_under_their_version(
    project: Project,
) -> None:
    bind(project, project.metrics.values(), datetime(2026, 2, 3, tzinfo=UTC))
    (project.root / "configs" / "metrics" / "unused.yaml").write_text("name: unused\n")
    (project.root / "configs" / "policies" / "bold.yaml").write_text("name: bold\nversion: 0\ndescription: x\n")
    path = project.root / "configs" / "metrics" / "revenue.yaml"
    path.write_text(path.read_text().replace("direction: increase", "direction: decrease"))
    code, output = exp(project, "validate")
    assert code == 64
    assert "configs/metrics/unused.yaml: version: missing" in output
    assert "configs/policies/bold.yaml: version: found 0" in output
    assert "revenue.yaml: version: 1 was first used on 2026-02-03" in output
    assert "direction: increase → decrease" in output


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


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_diff_says_what_a_change_since_a_revision_touches_and_refuses_it_under_the_same_version(
    project: Project,
) -> None:
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", "configs")
    git(project.root, "commit", "-q", "-m", "as it was")
    assert exp(project, "diff", "main") == (0, "nothing differs from main\n")
    path = project.root / "configs" / "metrics" / "revenue.yaml"
    path.write_text(path.read_text().replace("direction: increase", "direction: decrease"))
    code, output = exp(project, "diff", "main")
    assert code == 64
    assert "metric revenue: changed\n    direction: increase → decrease\n    touches running: " in output
    assert "REFUSED: its definition changes under version 1: set version to 2" in output
    assert json.loads(exp(project, "diff", "main", "--json")[1])[0]["name"] == "revenue"
    assert exp(project, "diff", "nowhere")[0] == 64
