"""The conf of a run at random is refused or a run; a registry of thousands slows no DAG file."""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from hypothesis import given
from hypothesis import strategies as st

from exp_platform.airflow.params import FIELDS, analysis_params
from exp_platform.paths import clone_root

pytestmark = pytest.mark.airflow

KNOWN = {"experiment_id": "exp_checkout_button_001"}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.dates().map(str),
    st.sampled_from(
        ["exp_checkout_button_001", "itt", "bots:0.3", "bots; rm -rf /", "2026-02-30", "${HOME}", "{{ 1 }}"]
    ),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@pytest.fixture(scope="module")
def validate() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Take a conf as the server does."""
    params = analysis_params(clone_root())

    def validated(conf: dict[str, Any]) -> dict[str, Any]:
        taken = ParamsDict(dict(params))
        taken.update(conf)
        return dict(taken.validate())

    return validated


@given(conf=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_a_conf_at_random_is_a_run_or_a_refusal(
    validate: Callable[[dict[str, Any]], dict[str, Any]], conf: dict[str, Any]
) -> None:
    try:
        taken = validate(KNOWN | conf)
    except (ParamValidationError, ValueError):
        return
    assert taken["experiment_id"] in analysis_params(clone_root())["experiment_id"].schema["enum"]
    assert taken["dt"] is None or date.fromisoformat(taken["dt"]).isoformat() == taken["dt"]
    assert taken["analysis_mode"] in (None, "itt", "exposed")
    assert all(isinstance(taken[name], bool) for name in ("generate_synth", "full_refresh"))
    assert taken["seed"] is None or taken["seed"] >= 0
    assert taken["fault"] is None or not set(taken["fault"]) & set(";|&$`\"'\\\n<>()")
    assert taken["config"]
    json.dumps(taken, allow_nan=False)


def test_the_dag_is_parsed_in_under_a_second_with_three_thousand_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "configs" / "experiments"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"exp_one_of_many_{number:04}.yaml").write_text("is never read by a DAG file")
    file = clone_root() / "dags" / "experiment_analysis.py"
    DagSerialization.serialize_dag(runpy.run_path(str(file))["dag"])  # imports are those of a registry of three
    monkeypatch.setattr("exp_platform.paths.clone_root", lambda: tmp_path)

    began = time.process_time()
    dag = runpy.run_path(str(file))["dag"]
    parsed = time.process_time() - began
    serialized = DagSerialization.serialize_dag(dag)
    spent = time.process_time() - began
    print(f"parsed in {parsed:.2f} s, serialized in {spent - parsed:.2f} s of processor")

    assert len(dag.params.get_param("experiment_id").schema["enum"]) == 3000
    assert "exp_one_of_many_2999" in json.dumps(serialized)
    assert spent < 1.0  # processor time, so that a busy machine does not matter
