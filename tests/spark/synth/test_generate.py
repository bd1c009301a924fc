"""The raw zone after a generation, and the folders that the generator keeps its hands off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from exp_platform.config.load import Project
from exp_platform.config.models import Fault
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.schemas import DATASETS, contract_columns
from exp_platform.synth.folder import Folder
from exp_platform.synth.generate import generate
from exp_platform.synth.generation import SynthPlan
from exp_platform.synth.planted_faults import resolve_faults
from exp_platform.synth.write import check_written

pytestmark = pytest.mark.spark


@pytest.fixture
def small(plan: SynthPlan) -> SynthPlan:
    """200 users and one metric."""
    scenario = plan.scenario.model_copy(update={"n_users": 200})
    return replace(plan, scenario=scenario, metrics=plan.metrics[:1])


@pytest.fixture
def folder(project: Project, small: SynthPlan) -> Path:
    """The experiment's folder in the raw zone of a project of its own."""
    return Path(project.raw_folder(small.experiment_id))


def no_session() -> Any:
    raise AssertionError("nothing to generate, no session to build")


def test_every_dataset_is_there_with_exactly_the_contracts_columns(
    spark: Any, project: Project, small: SynthPlan, folder: Path
) -> None:
    done = generate(project, small, lambda: spark)
    assert done.changed and done.rows["assignments"] == 200
    for dataset in DATASETS:
        files = ds.dataset(folder / dataset, format="parquet")
        assert files.schema.names == list(contract_columns(dataset))
        assert files.count_rows() == done.rows[dataset]
    labels = {path.name for path in folder.glob("*/*")}
    assert all(label.startswith(("dt=2025-12", "dt=2026-")) for label in labels)
    assert not list(folder.rglob("*.crc")) and not list(folder.rglob("_SUCCESS"))
    assert sorted(p.name for p in folder.parent.iterdir()) == [small.experiment_id]


def test_an_event_lies_in_the_folder_of_its_day(spark: Any, project: Project, small: SynthPlan, folder: Path) -> None:
    generate(project, small, lambda: spark)
    (day,) = sorted((folder / "exposures").iterdir())[3:4]
    times = ds.dataset(day).to_table()["exposure_ts"].to_pylist()
    assert {f"dt={time.date()}" for time in times} == {day.name}


def test_the_truth_lies_beside_the_data(spark: Any, project: Project, small: SynthPlan, folder: Path) -> None:
    generate(project, small, lambda: spark)
    truth = json.loads((folder / "_truth.json").read_text())
    assert [(e["metric"], e["mode"], e["n_units"] > 0) for e in truth["effects"]] == [
        ("conversion", "itt", True),
        ("conversion", "exposed", True),
    ]


def test_the_same_again_is_nothing_to_do_and_another_seed_replaces_it(
    spark: Any, project: Project, small: SynthPlan, folder: Path
) -> None:
    first = generate(project, small, lambda: spark)
    files = sorted(folder.rglob("*"))
    again = generate(project, small, no_session)
    assert (again.changed, again.rows) == (False, first.rows)
    assert sorted(folder.rglob("*")) == files
    assert generate(project, replace(small, seed=8), lambda: spark).changed
    assert json.loads((folder / "_synthetic.json").read_text())["seed"] == 8


def test_a_folder_with_somebodys_data_is_not_touched(project: Project, small: SynthPlan, folder: Path) -> None:
    (folder / "exposures").mkdir(parents=True)
    (folder / "exposures" / "real.parquet").write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"holds files that the generator did not write .*another experiment id"):
        generate(project, small, no_session)
    assert (folder / "exposures" / "real.parquet").read_bytes() == b"precious"


def test_a_profile_with_real_data_generates_nothing(project: Project, small: SynthPlan) -> None:
    real = replace(project, profile=project.profile.model_copy(update={"synthetic": False}))
    with pytest.raises(ConfigError, match="synthetic: found false"):
        generate(real, small, no_session)


def test_faults_of_rows_and_files_reach_the_disk_and_the_marker(
    spark: Any, project: Project, small: SynthPlan, folder: Path
) -> None:
    faults = resolve_faults([Fault(name="schema_drift"), Fault(name="srm", size=1.0)], small)
    generate(project, replace(small, faults=faults), lambda: spark)
    marker = json.loads((folder / "_synthetic.json").read_text())
    assert [(f["name"], f["size"]) for f in marker["faults"]] == [("schema_drift", 1.0), ("srm", 1.0)]
    assert "value" not in ds.dataset(folder / "outcomes").schema.names
    assert set(ds.dataset(folder / "assignments").to_table()["variant"].to_pylist()) == {"control"}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("schema_drift", "columns: found .*; expected"),
        ("schema_drift_type", "value: found string, expected double"),
        ("null_user_ids", "user_id: found .* nulls"),
        ("unknown_variant", "variant: found ghost; allowed: control, treatment"),
    ],
)
def test_what_breaks_a_contract_would_be_seen_by_the_generators_own_check(
    spark: Any, project: Project, small: SynthPlan, fault: str, sentence: str
) -> None:
    faults = resolve_faults([Fault(name=fault, size=0.3)], small)
    generate(project, replace(small, faults=faults), lambda: spark)
    with pytest.raises(ContractViolation, match=sentence):
        check_written(Folder.of_experiment(project, small.experiment_id), small)


def test_an_interrupted_swap_is_finished_by_the_next_run(
    spark: Any, project: Project, small: SynthPlan, folder: Path
) -> None:
    generate(project, small, lambda: spark)
    left = folder.with_name(f"_new_{folder.name}")
    left.mkdir()
    (folder / "_synthetic.json").rename(left / "_synthetic.json")
    assert generate(project, small, lambda: spark).changed
    assert not left.exists() and (folder / "_synthetic.json").exists()
