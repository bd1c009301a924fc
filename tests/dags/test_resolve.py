"""The first task: what a run is about, or one sentence that says why there is none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from exp_platform.airflow.resolve import resolve
from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_catalog
from exp_platform.ledger.manifest import StageManifest
from exp_platform.pipelines.dates import default_dt

NOW = datetime(2026, 3, 10, 8, tzinfo=UTC)


def run(project: Project, conf: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    values = {
        "experiment_id": "exp_checkout_button_001",
        "dt": None,
        "config": str(project.path),
        "analysis_mode": None,
        "generate_synth": False,
        "fault": None,
        "seed": None,
        "full_refresh": False,
    } | params
    conf = conf if conf is not None else params
    # Airflow hands over what a conf adds among the params.
    return resolve(values | conf, conf, "run_1", NOW).to_xcom()


def test_without_a_date_and_raw_data_it_is_yesterday(project: Project) -> None:
    assert run(project)["dt"] == "2026-03-09"


def test_a_given_date_is_kept_and_the_run_id_is_the_runs(project: Project) -> None:
    resolved = run(project, dt="2026-01-20")
    assert (resolved["dt"], resolved["run_id"]) == ("2026-01-20", "run_1")


def test_a_run_that_is_cleared_on_a_later_day_keeps_the_dt_that_it_began_with(project: Project) -> None:
    experiment = "exp_checkout_button_001"
    origin = ("config", "code", datetime(2026, 2, 3, tzinfo=UTC))
    begun = StageManifest(
        project, load_catalog(project), experiment, "run_1", date(2026, 2, 2), "sync_registry", *origin
    )
    begun.add("exp.experiment_registry", "published", 1, rows=1)
    begun.flush()
    assert run(project)["dt"] == "2026-02-02"
    assert run(project, dt="2026-01-20")["dt"] == "2026-01-20"


def test_before_the_first_generation_it_is_the_last_day_that_will_be_generated(project: Project) -> None:
    assert run(project, generate_synth=True)["dt"] < "2026-03-09"


def test_without_a_date_a_run_in_airflow_takes_the_day_that_exp_run_takes(project: Project) -> None:
    day = default_dt(project, "exp_checkout_button_001", NOW, generate_synth=True).isoformat()
    folder = Path(project.raw_folder("exp_checkout_button_001"))
    for name in (day, "2026-02-17"):  # a late refund lies beyond the last whole day
        (folder / "outcomes" / f"dt={name}").mkdir(parents=True)
    scenario = project.scenario("exp_checkout_button_001").model_dump(mode="json")
    (folder / "_synthetic.json").write_text(json.dumps({"scenario": scenario}))
    assert run(project)["dt"] == run(project, generate_synth=True)["dt"] == day == "2026-02-15"


def test_an_unknown_key_is_refused_with_what_was_meant(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'experiment'; did you mean 'experiment_id'\?.*allowed: "):
        run(project, conf={"experiment": "exp_checkout_button_001"})


def test_an_unknown_experiment_is_refused_with_what_is_known(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"exp_checkout_buton_001' not found; did you mean 'exp_checkout_button_001'"):
        run(project, experiment_id="exp_checkout_buton_001")


def test_a_fault_or_a_seed_that_nothing_would_come_of_is_refused(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"fault: found srm:0\.1, allowed only with generate_synth"):
        run(project, fault="srm:0.1")
    with pytest.raises(ConfigError, match="seed: found 3, allowed only with generate_synth"):
        run(project, seed=3)
    assert run(project, fault="srm:0.1 bots", seed=3, generate_synth=True)["seed"] == 3


def test_a_fault_that_nobody_knows_is_refused_before_anything_is_generated(project: Project) -> None:
    with pytest.raises(ConfigError, match="fault 'srmm' not found"):
        run(project, fault="srmm:0.1", generate_synth=True)


def test_nothing_is_generated_where_the_profile_is_not_synthetic(project: Project) -> None:
    text = project.path.read_text().replace("synthetic: true", "synthetic: false")
    project.path.write_text(text)
    with pytest.raises(ConfigError, match=r"dev\.yaml is not synthetic"):
        run(project, generate_synth=True)
