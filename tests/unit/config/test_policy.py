"""A policy is a file, and two policies that say different things never carry the same label."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exp_platform.config.load import load_project
from exp_platform.config.policy import DEFAULT, FOLDER, load_policy
from exp_platform.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def write(root: Path, name: str, text: str) -> None:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / FOLDER / f"{name}.yaml").write_text(text)


def test_the_shipped_default_is_what_the_code_takes_without_a_file(tmp_path: Path):
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    assert load_policy(tmp_path, "default") == DEFAULT
    assert load_policy(tmp_path / "nowhere", "default") == DEFAULT


def test_a_changed_rule_changes_the_label_and_a_changed_description_does_not(tmp_path: Path):
    write(tmp_path, "careful", "name: careful\nversion: 1\ndescription: a\nmin_days: 14\n")
    first = load_policy(tmp_path, "careful")
    write(tmp_path, "careful", "name: careful\nversion: 1\ndescription: b\nmin_days: 14\n")
    assert load_policy(tmp_path, "careful").label == first.label
    write(tmp_path, "careful", "name: careful\nversion: 1\ndescription: a\nmin_days: 7\n")
    assert load_policy(tmp_path, "careful").label != first.label


def test_a_choice_that_came_later_is_part_of_the_label_only_where_it_is_made(tmp_path: Path):
    text = "name: careful\nversion: 1\ndescription: a\n"
    labels = []
    for choice in ("", "untested_trends: invalid\n", "untested_trends: doubt\n"):
        write(tmp_path, "careful", text + choice)
        labels.append(load_policy(tmp_path, "careful").label)
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("defualt", None, "did you mean 'default'"),
        ("careful", "name: other\nversion: 1\ndescription: a\n", "must equal the file's name"),
        ("careful", "name: careful\nversion: 1\ndescription: a\nship_when: never\n", "ship_when"),
        ("careful", "name: careful\nversion: 1\ndescription: a\nship_on: hope\n", "'hope'"),
        ("careful", "name: [", "not valid YAML"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused_with_file_and_reason(tmp_path, name, text, said):
    if text is not None:
        write(tmp_path, name, text)
    with pytest.raises(ConfigError, match=f"{FOLDER}/{name}.yaml") as refused:
        load_policy(tmp_path, name)
    assert said in str(refused.value)


def test_an_experiment_with_an_unknown_policy_is_refused_when_the_project_is_loaded(project, tmp_path: Path):
    file = tmp_path / "configs" / "experiments" / "exp_checkout_button_001.yaml"
    file.write_text(file.read_text() + "decision_policy: bold\n")
    with pytest.raises(ConfigError, match=r"configs/policies/bold\.yaml: no such policy"):
        load_project(project.path).experiment("exp_checkout_button_001")
