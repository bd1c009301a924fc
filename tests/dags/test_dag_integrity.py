"""Every DAG file: loads fast and light, is documented for whoever is on call, and refuses bad conf."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunType

from exp_platform.airflow.local import TASKS
from exp_platform.airflow.params import FIELDS
from exp_platform.pipelines.job import RUN_ID
from exp_platform.pipelines.registry import STAGES

pytestmark = pytest.mark.airflow

DAGS = ("canary", "daily_experiments", "experiment_analysis", "ingest_streams", "lakehouse_maintenance")
HEAVY = ("pyspark", "great_expectations", "pandas", "pyiceberg", "pyarrow", "scipy", "statsmodels")


@pytest.fixture(scope="module")
def bag() -> DagBag:
    folder = Path(__file__).resolve().parents[2] / "dags"
    return DagBag(dag_folder=str(folder))


@pytest.fixture(scope="module")
def analysis(bag: DagBag) -> DAG:
    return bag.dags["experiment_analysis"]


def test_every_dag_file_loads(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert tuple(sorted(bag.dags)) == DAGS


def test_the_example_in_the_docs_loads_and_waits_for_the_asset_that_a_passed_experiment_adds(root: Path) -> None:
    bag = DagBag(dag_folder=str(root / "docs" / "examples"))
    assert bag.import_errors == {}
    assert bag.dags["after_checkout_button"].schedule == [Asset("experiment_passed/exp_checkout_button_001")]


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_says_who_owns_it_how_grave_it_is_and_what_to_do_when_it_fails(bag: DagBag, name: str) -> None:
    dag = bag.dags[name]
    assert dag.doc_md is not None
    assert "## When it fails" in dag.doc_md
    assert dag.description  # shown in the list of DAGs when the mouse is on the name
    assert len(dag.description) <= 80
    assert any(tag.startswith("tier:") for tag in dag.tags)
    assert {task.owner for task in dag.tasks} == {"experimentation-platform"}
    assert dag.catchup is False


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_survives_serialization(bag: DagBag, name: str) -> None:
    restored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags[name]))
    assert set(restored.task_dict) == set(bag.dags[name].task_dict)


# What each module takes and brings, in a fork of a process that has what every process of Airflow has.
WEIGH = """
import importlib, json, os, sys, time
import airflow.sdk
from airflow.plugins_manager import AirflowPlugin
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

def weigh(name):
    start = time.process_time()
    importlib.import_module(name)
    heavy = [module for module in HEAVY if module in sys.modules]
    print("ANSWER", json.dumps([name, time.process_time() - start, heavy]), flush=True)
    os._exit(0)

for name in NAMES:
    os.fork() or weigh(name)
    os.wait()
"""


def test_a_dag_file_and_the_plugin_load_in_under_a_second_and_import_nothing_heavy(root: Path) -> None:
    names = [*DAGS, "exp_platform.airflow.plugin"]
    script = f"HEAVY, NAMES = {HEAVY!r}, {names!r}\n{WEIGH}"
    environment = os.environ | {"PYTHONPATH": str(root / "dags")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    answers = [
        json.loads(line.removeprefix("ANSWER")) for line in done.stdout.splitlines() if line.startswith("ANSWER")
    ]
    assert [name for name, _, _ in answers] == names, done.stderr
    assert [(name, heavy) for name, _, heavy in answers if heavy] == []
    # Processor time, so that a busy machine does not matter.
    assert [(name, seconds) for name, seconds, _ in answers if seconds >= 1.0] == []


def test_every_stage_of_the_registry_is_a_task_of_the_same_name_after_what_it_reads(analysis: DAG) -> None:
    for stage in STAGES:
        task = analysis.task_dict[stage.name]
        assert set(stage.after) <= task.upstream_task_ids
        assert task.task_group is not None
        assert task.task_group.group_id == stage.group
        assert task.pool == ("spark" if stage.needs_spark else "no_session")
        assert task.execution_timeout is not None


def test_the_groups_read_from_left_to_right(analysis: DAG) -> None:
    groups = [child for child in analysis.task_group.children if child in analysis.task_group_dict]
    assert groups == ["sources", "canonical", "quality", "metrics", "results", "gates", "memo"]


def test_results_and_memo_do_not_depend_on_gates_and_passing_depends_on_all_of_them(analysis: DAG) -> None:
    gates = {"quality_gate", "srm_gate", "guardrail_gate"}
    for name in [stage.name for stage in STAGES]:
        assert not gates & analysis.task_dict[name].get_flat_relative_ids(upstream=True)
    assert analysis.task_dict["experiment_passed"].upstream_task_ids == gates


def test_a_red_task_anywhere_makes_the_run_red(analysis: DAG) -> None:
    leaves = [task.task_id for task in analysis.leaves]
    assert leaves == ["watcher"]
    assert analysis.task_dict["watcher"].trigger_rule == "one_failed"
    covered = analysis.task_dict["watcher"].get_flat_relative_ids(upstream=True)
    assert covered | {"watcher"} == set(analysis.task_dict)


def test_only_experiment_passed_announces_an_experiment(analysis: DAG) -> None:
    outlets = {task.task_id: [outlet.name for outlet in task.outlets] for task in analysis.tasks if task.outlets}
    assert outlets == {"experiment_passed": ["experiment_passed"]}


def validated(dag: DAG, **conf: Any) -> dict[str, Any]:
    params = copy.deepcopy(dag.params)
    params.update(conf)
    return dict(params.validate())


GOOD = {"experiment_id": "exp_checkout_button_001"}


def test_good_conf_is_taken_as_it_is(analysis: DAG) -> None:
    values = validated(analysis, **GOOD, dt="2026-02-01", analysis_mode="itt", seed=3, fault="srm:0.1 bots:0.2:1,2")
    assert values["dt"] == "2026-02-01"
    assert values["config"] == "configs/dev.yaml"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("experiment_id", "exp_1\n"),
        ("experiment_id", "Exp"),
        ("experiment_id", "exp_unheard_of"),
        ("experiment_id", "../etc"),
        ("experiment_id", "exp'; drop"),
        ("experiment_id", "e" * 65),
        ("experiment_id", None),
        ("dt", "2026-02-30"),
        ("dt", "20260201"),
        ("dt", "2026-02-01\n"),
        ("dt", 20260201),
        ("analysis_mode", "both"),
        ("generate_synth", "yes"),
        ("fault", "srm; rm -rf"),
        ("fault", "srm\n"),
        ("fault", ""),
        ("seed", -1),
        ("seed", "seven"),
        ("config", ""),
    ],
)
def test_bad_conf_is_refused_before_any_task(analysis: DAG, key: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        validated(analysis, **(GOOD | {key: value}))


def test_the_demo_counts_every_task(analysis: DAG) -> None:
    assert len(analysis.tasks) == TASKS


def test_a_refusal_is_a_sentence(analysis: DAG) -> None:
    with pytest.raises(ParamValidationError, match="'exp_checkout_buton_001' is not one of \\['exp_"):
        validated(analysis, experiment_id="exp_checkout_buton_001")
    with pytest.raises(ParamValidationError, match="'2026-02-30' is not a 'date'"):
        validated(analysis, **GOOD, dt="2026-02-30")
    with pytest.raises(ParamValidationError, match="'srm; rm' is not a 'fault such as bots or "):
        validated(analysis, **GOOD, fault="srm; rm")
    patterns = [name for name in analysis.params if "pattern" in analysis.params.get_param(name).schema]
    assert patterns == []  # the refusal of a pattern is a regular expression


def test_the_form_opens_without_an_error_and_nothing_is_chosen_for_a_person(analysis: DAG) -> None:
    """The form marks a field without a value as an error unless its type allows null; the list still refuses null."""
    for name in analysis.params:
        param = analysis.params.get_param(name)
        assert param.has_value or "null" in param.schema["type"], name
    with pytest.raises(ParamValidationError, match="No value passed"):
        validated(analysis)
    with pytest.raises(ParamValidationError, match="None is not one of"):
        validated(analysis, experiment_id=None)


def test_the_form_asks_for_one_date_and_a_run_that_nobody_named_has_a_readable_id(analysis: DAG) -> None:
    timetable = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(analysis)).timetable
    assert timetable.partitioned  # then the form has no logical date
    assert not timetable.can_be_scheduled
    assert timetable.summary == "on request"
    after = pendulum.datetime(2026, 2, 14, 8, 15, 3, 250_999, tz="UTC")
    named = timetable.generate_run_id(run_type=DagRunType.MANUAL, run_after=after, data_interval=None)
    assert named == "by_hand__2026-02-14_08:15:03.250"
    assert re.fullmatch(RUN_ID, named)
    dates = [name for name in analysis.params if analysis.params.get_param(name).schema.get("format") == "date"]
    assert dates == ["dt"]


def test_the_morning_is_the_last_task_of_the_day_and_red_when_another_is(bag: DagBag) -> None:
    dag = bag.dags["daily_experiments"]
    assert [leaf.task_id for leaf in dag.leaves] == ["morning"]
    morning = dag.task_dict["morning"]
    assert morning.trigger_rule == "all_done"
    assert set(dag.task_dict) - {"morning"} == morning.get_flat_relative_ids(upstream=True)


def test_the_form_suggests_what_is_in_the_registry_and_folds_the_rest(analysis: DAG, root: Path) -> None:
    known = {file.stem for file in (root / "configs" / "experiments").glob("*.yaml")}
    schemas = {name: analysis.params.get_param(name).schema for name in analysis.params}
    assert known <= set(schemas["experiment_id"]["enum"])
    assert set(schemas) == set(FIELDS)
    assert schemas["dt"]["format"] == "date"
    assert {name for name, schema in schemas.items() if schema.get("section") == "Rarely needed"} == {
        "config",
        "analysis_mode",
        "fault",
        "full_refresh",
        "seed",
    }
    assert all(schema["title"] and analysis.params.get_param(name).description for name, schema in schemas.items())


def test_maintenance_goes_on_after_a_red_step_and_is_red_all_the_same(bag: DagBag) -> None:
    dag = bag.dags["lakehouse_maintenance"]
    steps = [task for task in dag.tasks if task.task_id != "watcher"]
    assert [task.task_id for task in steps] == [
        "compact",
        "expire_snapshots",
        "remove_orphan_files",
        "drop_old_quarantine",
    ]
    assert {task.trigger_rule for task in steps} == {"all_done"}
    assert [leaf.task_id for leaf in dag.leaves] == ["watcher"]
    assert dag.task_dict["watcher"].upstream_task_ids == {task.task_id for task in steps}


def weights(dag: DAG) -> dict[str, int]:
    """Task id -> priority weight, which decides on the next free slot of a pool."""
    restored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    tasks = [SimpleNamespace(task=task) for task in restored.tasks if task.pool in ("spark", "no_session")]
    return {ti.task.task_id: ti.task.weight_rule.get_weight(ti) for ti in tasks}


def test_a_run_that_somebody_waits_for_comes_before_maintenance(bag: DagBag, analysis: DAG) -> None:
    assert max(weights(bag.dags["lakehouse_maintenance"]).values()) < min(weights(analysis).values())


def test_of_two_runs_the_one_that_is_further_goes_on(analysis: DAG) -> None:
    found = weights(analysis)
    in_order = [found[stage.name] for stage in STAGES]
    assert in_order == sorted(set(in_order))


@pytest.mark.parametrize("name", ["daily_experiments", "lakehouse_maintenance"])
def test_a_schedule_is_in_utc_wherever_airflow_lives(root: Path, name: str) -> None:
    """Midnight must not become another hour where somebody has set Airflow's default time zone."""
    settings = os.environ | {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Tokyo"}
    script = (
        f"import sys; sys.path.insert(0, {str(root / 'dags')!r}); import {name} as m; "
        "print('ZONE', getattr(m.dag.timetable, 'timezone', m.dag.timezone))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=settings)
    assert "ZONE Timezone('UTC')" in done.stdout or "ZONE UTC" in done.stdout


def test_the_daily_run_goes_one_day_at_a_time_and_never_catches_up(bag: DagBag) -> None:
    dag = bag.dags["daily_experiments"]
    assert dag.max_active_runs == 1
    assert dag.schedule == "@daily"


def test_children_are_waited_for_without_holding_a_worker(bag: DagBag) -> None:
    task = bag.dags["daily_experiments"].task_dict["analyse_experiment.analyse"]
    assert task.deferrable is True
    assert task.wait_for_completion is True
    assert task.logical_date is None
