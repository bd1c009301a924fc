"""A configuration file is plain data: whatever grows, repeats or cannot be read is refused with its line."""

from __future__ import annotations

import pytest

from exp_platform.config.load import Project, load_project
from exp_platform.config.yaml_file import DEEPEST, parse_yaml
from exp_platform.errors import ConfigError

BILLION = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BILLION, r"line 2: the alias \*a is not allowed"),
        ("start_ts: 2026-02-30", r"'2026-02-30': day is out of range for month.* line 1"),
        ("x: 1\nnumber: " + "9" * 5000, r"Exceeds the limit .* line 2"),
        ("[a, b]: 1", "unhashable type: 'list'.* line 1"),
        ("a: 1\na: 2", "the key 'a' is there twice.* line 2"),
        ("a: " + "[" * (DEEPEST + 1), f"line 1: nested deeper than {DEEPEST} levels"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor for the tag"),
        ("- a", "expected keys and values, found list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_file_and_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^configs/x.yaml: .*{said}"):
        parse_yaml(text, "configs/x.yaml")


def test_a_file_as_deep_as_allowed_is_read() -> None:
    nested = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    assert "a" in parse_yaml(f"a: {nested}", "x.yaml")


@pytest.mark.parametrize("text", [BILLION, "start_ts: 2026-02-30", "[a]: 1", "a: " + "[" * 50, "n: " + "9" * 5000])
def test_one_hostile_experiment_file_stops_no_other_experiment(project: Project, text: str) -> None:
    (project.root / "configs" / "experiments" / "exp_hostile.yaml").write_text(text)
    loaded = load_project(project.path)
    assert loaded.experiments.keys() == project.experiments.keys()
    with pytest.raises(ConfigError, match=r"configs/experiments/exp_hostile\.yaml: "):
        loaded.experiment("exp_hostile")


def test_a_guardrail_that_can_never_fail_is_refused(project: Project) -> None:
    file = project.root / "configs" / "experiments" / "exp_checkout_button_001.yaml"
    file.write_text(file.read_text().replace("max_relative_harm: 0.05", "max_relative_harm: .inf", 1))
    with pytest.raises(ConfigError, match="max_relative_harm: found inf; input should be a finite number"):
        load_project(project.path).experiment("exp_checkout_button_001")
