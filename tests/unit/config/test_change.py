"""A change of configuration says what it touches, and refuses what must not be merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import make_project

from exp_platform.config.change import Change, changes
from exp_platform.config.load import Project, load_project

METRIC = "configs/metrics/conversion.yaml"
EXPERIMENT = "configs/experiments/exp_checkout_button_001.yaml"


@pytest.fixture
def before(tmp_path: Path) -> Project:
    return make_project(tmp_path / "before")


def changed(project: Project, file: str, **values: Any) -> list[Change]:
    """The changes between the shipped configuration and one in which a file has other values."""
    path = project.root / file
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))
    return changes_now(project)


def changes_now(project: Project) -> list[Change]:
    shipped = make_project(project.root.parent / "shipped")
    return changes(shipped, load_project(project.path))


def test_nothing_differs_from_itself(before: Project) -> None:
    assert changes_now(before) == []


def test_a_definition_that_changes_under_its_version_is_refused_and_names_who_runs_with_it(before: Project) -> None:
    [change] = changed(before, METRIC, practical_threshold=0.02)
    running = {i for i, e in before.experiments.items() if e.status == "running" and "conversion" in e.metrics}
    assert running and set(change.touches) == running
    assert any(detail.startswith("practical_threshold: ") for detail in change.details)
    assert change.problem is not None and "under version 1: set version to 2" in change.problem


def test_with_a_new_version_it_may_be_merged(before: Project) -> None:
    [change] = changed(before, METRIC, practical_threshold=0.02, version=2)
    assert change.problem is None and change.details[0] == "version: 1 → 2"


def test_other_words_touch_nobody(before: Project) -> None:
    [change] = changed(before, METRIC, description="Bought something.")
    assert (change.what, change.touches, change.problem) == ("reworded", (), None)


def test_an_experiments_margin_is_named_by_its_metric(before: Project) -> None:
    known = yaml.safe_load((before.root / EXPERIMENT).read_text())["guardrails"]
    guardrails = [known[0] | {"max_relative_harm": 0.123}, *known[1:]]
    [change] = changed(before, EXPERIMENT, guardrails=guardrails)
    metric = guardrails[0]["metric"]
    assert change.details == (f"guardrails.{metric}.max_relative_harm: {known[0]['max_relative_harm']} → 0.123",)


@pytest.mark.parametrize(
    ("edit", "kind", "what"),
    [
        (lambda root: (root / METRIC).unlink(), "metric", "removed"),
        (lambda root: (root / "configs/policies/bold.yaml").write_text(BOLD), "policy", "added"),
        (lambda root: (root / EXPERIMENT).write_text("name: [\n"), "experiment", "broken"),
    ],
)
def test_what_comes_and_goes_is_named(before: Project, edit: Callable[[Path], Any], kind: str, what: str) -> None:
    edit(before.root)
    assert (kind, what) in {(change.kind, change.what) for change in changes_now(before)}


BOLD = "name: bold\nversion: 1\ndescription: Ships early.\nmin_days: 1\n"
