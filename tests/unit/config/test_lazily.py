"""A project about one experiment reads that one's files, and says of every name what the whole project says."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import make_project

from exp_platform.config.load import Project, load_project
from exp_platform.config.yaml_file import ConfigFile
from exp_platform.errors import ConfigError
from exp_platform.pipelines.run import Run

ID, OTHER = "exp_checkout_button_001", "exp_add_cart_002"
EXPERIMENTS, METRICS = "configs/experiments", "configs/metrics"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return make_project(tmp_path).path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    read = ConfigFile.read.__func__  # type: ignore[attr-defined]

    def noted(cls: type[ConfigFile], path: Path, root: Path) -> Any:
        names.append(path.stem)
        return read(cls, path, root)

    monkeypatch.setattr(ConfigFile, "read", classmethod(noted))
    return names


def changed(profile: Path, file: str, **keys: Any) -> None:
    path = profile.parent.parent / file
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def test_only_the_files_of_the_named_experiment_are_read(profile: Path, opened: list[str]) -> None:
    project = load_project(profile, only=(ID,))
    experiment = project.experiment(ID)
    project.config_hash(project.with_analysis_mode(ID, "itt").experiment(ID))
    covariates = {name for metric in project.metrics_of(experiment) for name in metric.covariates}
    used = {metric.name for metric in project.metrics_of(experiment)} | covariates
    assert set(opened) == {"dev", ID} | used
    assert len(opened) == len(set(opened)), "each once"
    assert OTHER not in project.broken and OTHER in project.experiments
    assert OTHER in opened and "exp_pricing_test_003" not in opened


def test_a_profile_alone_needs_no_metric_and_no_experiment(profile: Path, opened: list[str]) -> None:
    assert load_project(profile, only=()).profile == load_project(profile).profile
    assert opened[0] == "dev" and opened[1] == "dev"


def twice(profile: Path) -> None:
    """Two files stand for one experiment, and two for one metric."""
    for file in (f"{EXPERIMENTS}/{ID}.yaml", f"{METRICS}/revenue.yaml"):
        path = profile.parent.parent / file
        path.with_suffix(".yml").write_text(path.read_text())


def covariates_in_a_chain(profile: Path) -> None:
    """A metric of the experiment names one that names one that is refused."""
    changed(profile, f"{METRICS}/conversion.yaml", covariates=["revenue"])
    changed(profile, f"{METRICS}/revenue.yaml", covariates=["sessions_per_user"])
    changed(profile, f"{METRICS}/revenue_per_session.yaml", covariates=["conversion"])


def write(file: str, text: str) -> Callable[[Path], None]:
    return lambda profile: (profile.parent.parent / file).write_text(text) and None


MISTAKES: dict[str, Callable[[Path], None]] = {
    "none": lambda profile: None,
    "no YAML": write(f"{EXPERIMENTS}/{ID}.yaml", "a: [\n"),
    "another's file is no YAML": write(f"{EXPERIMENTS}/{OTHER}.yaml", "a: [\n"),
    "a metric is misspelt": lambda profile: changed(profile, f"{EXPERIMENTS}/{ID}.yaml", metrics=["revenu"]),
    "a metric is refused": lambda profile: changed(profile, f"{METRICS}/revenue.yaml", direction="up"),
    "the id is another": lambda profile: changed(profile, f"{EXPERIMENTS}/{ID}.yaml", experiment_id=OTHER),
    "the name is another": lambda profile: changed(profile, f"{METRICS}/revenue.yaml", name="conversion"),
    "no such policy": lambda profile: changed(profile, f"{EXPERIMENTS}/{ID}.yaml", decision_policy="strict"),
    "no such stream": lambda profile: changed(profile, f"{EXPERIMENTS}/{ID}.yaml", streams={"outcomes": ["shop"]}),
    "no file of a scenario": lambda profile: (profile.parent / f"experiments/{ID}.yaml").unlink(),
    "covariates in a chain": covariates_in_a_chain,
    "a covariate is misspelt": lambda profile: changed(profile, f"{METRICS}/revenue.yaml", covariates=["conversio"]),
    "two files for a name": twice,
}


def outcome(project: Project, experiment_id: str) -> object:
    """The experiment with its hash, or the words in which it is refused."""
    try:
        experiment = project.experiment(experiment_id)
    except ConfigError as error:
        return str(error)
    return experiment, project.config_hash(experiment), project.metrics_of(experiment)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_whatever_is_wrong_each_name_has_the_outcome_that_the_whole_project_gives(profile: Path, mistake: str) -> None:
    MISTAKES[mistake](profile)
    whole = load_project(profile)
    names = [*whole.experiments, *whole.broken, "exp_nobody_knows", "../dev", "index", "exp_a*"]
    for name in names:
        assert outcome(load_project(profile, only=(name,)), name) == outcome(whole, name), name
    about = load_project(profile, only=(ID,))
    assert list(about.experiments.items()) == list(whole.experiments.items())
    assert dict(about.metrics) == whole.metrics
    assert (dict(about.broken), dict(about.broken_metrics)) == (whole.broken, whole.broken_metrics)
    assert about.refusals() == whole.refusals()


def test_what_was_read_stays_as_it_was_when_its_file_changes(profile: Path) -> None:
    project = load_project(profile, only=(ID,))
    before = project.experiment(ID)
    write(f"{EXPERIMENTS}/{ID}.yaml", "a: [\n")(profile)
    assert len(project.experiments) == len(load_project(profile).experiments) + 1
    assert project.experiment(ID) is before and ID not in project.broken


def test_a_changed_experiment_stands_in_the_place_of_its_file(profile: Path, opened: list[str]) -> None:
    project = load_project(profile, only=(ID,))
    other = project.experiment(ID).model_copy(update={"name": "Another"})
    then = replace(project, experiments=project.experiments | {ID: other})
    assert then.experiment(ID).name == "Another" and OTHER not in opened
    assert [one.name for one in then.experiments.values()].count("Another") == 1
    assert project.experiment(ID).name != "Another"


def test_a_project_about_one_experiment_can_be_sent_to_another_process(profile: Path) -> None:
    project = load_project(profile, only=(ID,))
    again = pickle.loads(pickle.dumps(project))
    assert outcome(again, OTHER) == outcome(project, OTHER)


def test_a_run_that_goes_from_task_to_task_reads_the_files_of_its_experiment(profile: Path, opened: list[str]) -> None:
    run = Run(load_project(profile, only=(ID,)), ID, date(2026, 1, 20), "run_1")
    again = Run.from_xcom(run.to_xcom())
    assert again.config_hash == run.config_hash
    assert OTHER not in opened and opened.count(ID) == 2
