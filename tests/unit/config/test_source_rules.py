"""Mapped sources: what is refused at load, by key, and what leaves an experiment's hash as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exp_platform.config.load import Project, load_project
from exp_platform.config.models import Experiment, Source
from exp_platform.errors import ConfigError
from exp_platform.operations.unseen import unseen_in_mapping

ID = "exp_checkout_button_001"
CSV = {"format": "csv", "location": "own", "columns": {"user_id": "u", "outcome_ts": "at"}}
LOG = {"format": "json", "location": "log", "columns": {"user_id": "u", "variant": "arm", "time": "at"}}
WriteYaml = Callable[[Path, object], Path]


def with_keys(project: Project, write_yaml: WriteYaml, **keys: Any) -> Project:
    path = project.root / "configs" / "experiments" / f"{ID}.yaml"
    write_yaml(path, yaml.safe_load(path.read_text()) | keys)
    return load_project(project.path)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (
            {"outcomes": CSV | {"columns": {"usr_id": "u"}}},
            "sources.outcomes.columns.usr_id: outcomes have no such column; did you mean 'user_id'?",
        ),
        ({"outcomes": [CSV, CSV | {"columns": {"usr_id": "u"}}]}, "sources.outcomes.1.columns.usr_id"),
        ({"outcomes": CSV | {"delimter": ";"}}, "sources.outcomes.delimter: unknown key; did you mean 'delimiter'?"),
        (
            {"outcomes": [CSV | {"delimter": ";"}]},
            "sources.outcomes.0.delimter: unknown key; did you mean 'delimiter'?",
        ),
        ({"outcomes": []}, "sources.outcomes: an empty list"),
        (
            {"outcomes": CSV | {"format": "json", "delimiter": ";"}},
            "sources.outcomes.delimiter: only csv has one, this source is json",
        ),
        (
            {"outcomes": CSV | {"timezone": "Berlin"}},
            "sources.outcomes.timezone: found 'Berlin', must be a zone such as Europe/Berlin",
        ),
        ({"outcomes": CSV | {"timestamp_format": "epoch_milis"}}, "did you mean 'epoch_millis'?"),
        ({"outcomes": CSV | {"aliases": {"a": "control"}}}, "sources.outcomes.aliases: outcomes have no arm"),
        (
            {"assignments": LOG | {"columns": {}, "aliases": {"a": "contrl"}}},
            "sources.assignments.aliases.a: 'contrl' is no arm; known: control, treatment; did you mean 'control'?",
        ),
        (
            {"assignments": LOG | {"columns": {}, "metrics": [{"name": "a"}]}},
            "sources.assignments.metrics: only outcomes have metrics",
        ),
        (
            {"outcomes": CSV | {"metrics": [{"name": "a"}], "constants": {"metric_name": "b"}}},
            "sources.outcomes.constants.metric_name: each of metrics has its own",
        ),
        (
            {"outcomes": CSV | {"constants": {"user_id": "b"}}},
            "sources.outcomes.constants.user_id: columns has it already",
        ),
        (
            {"outcomes": CSV | {"constants": {"value": "much"}}},
            "sources.outcomes.constants.value: found 'much', expected a number",
        ),
        (
            {"assignments_and_exposures": LOG, "exposures": LOG | {"columns": {}}},
            "sources.exposures: assignments_and_exposures stands for it already",
        ),
        ({"outcome": CSV}, "sources.outcome"),
    ],
)
def test_a_source_that_cannot_work_is_refused_by_its_key(
    project: Project, write_yaml: WriteYaml, sources: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        with_keys(project, write_yaml, sources=sources).experiment(ID)
    assert said in str(refused.value)
    assert f"configs/experiments/{ID}.yaml:" in str(refused.value)
    assert "(one)" not in str(refused.value) and "(many)" not in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"analysis_mode": "exposed"}, "analysis_mode must be itt, found exposed"),
        ({"analysis_mode": "itt", "assignment_source": "exposures"}, "takes the assignments from the exposures"),
        (
            {"analysis_mode": "itt", "sources": {"exposures": LOG | {"columns": {}}}},
            "sources.exposures names an exposure",
        ),
    ],
)
def test_no_exposure_log_means_that_nothing_needs_one(
    project: Project, write_yaml: WriteYaml, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        with_keys(project, write_yaml, exposure_source="none", **keys).experiment(ID)
    kept = {"analysis_mode": "itt", "assignment_source": "assignments", "sources": {}}
    sound = with_keys(project, write_yaml, exposure_source="none", **kept).experiment(ID)
    assert not sound.split_by_exposure


def test_one_log_is_a_source_of_both_datasets_each_with_its_own_time() -> None:
    log = Source.model_validate(LOG | {"columns": {"user_id": "u", "time": "decided", "exposure_ts": "shown"}})
    experiment = Experiment.model_construct(sources={"assignments_and_exposures": log})
    (assigned,) = experiment.sources_of("assignments")
    (exposed,) = experiment.sources_of("exposures")
    assert assigned.columns == {"user_id": "u", "assignment_ts": "decided"}
    assert exposed.columns == {"user_id": "u", "exposure_ts": "shown"}
    assert experiment.sources_of("outcomes") == ()


def test_keys_that_came_later_leave_the_hash_of_an_experiment_without_them(
    project: Project, write_yaml: WriteYaml
) -> None:
    plain = with_keys(project, write_yaml, sources={"outcomes": CSV})
    written = plain.experiment(ID).model_dump(mode="json")
    assert written["sources"]["outcomes"] == {
        "format": "csv",
        "location": "own",
        "columns": {"user_id": "u", "outcome_ts": "at"},
        "constants": {},
        "where": None,
    }
    assert "exposure_source" not in written
    assert "may_be_absent" not in plain.metrics["revenue"].model_dump()
    before = plain.config_hash(plain.experiment(ID))
    same = with_keys(project, write_yaml, sources={"outcomes": CSV | {"delimiter": ",", "metrics": []}})
    assert same.config_hash(same.experiment(ID)) == before
    other = with_keys(project, write_yaml, sources={"outcomes": CSV | {"delimiter": ";"}})
    assert other.config_hash(other.experiment(ID)) != before


def test_a_metric_that_no_source_delivers_is_named_with_what_there_is(project: Project, write_yaml: WriteYaml) -> None:
    delivers = [{"name": name} for name in ("conversion", "revenu", "sessions", "latency", "refunds")]
    mapped = with_keys(project, write_yaml, sources={"outcomes": CSV | {"metrics": delivers}})
    found = unseen_in_mapping(mapped)
    assert (
        f"configs/experiments/{ID}.yaml: sources: metrics: 'revenue': no outcome event has metric_name 'revenue'; "
        "found conversion, latency, refunds, revenu, sessions; did you mean 'revenu'?"
    ) in found
    whole = [*delivers, {"name": "revenue"}]
    assert unseen_in_mapping(with_keys(project, write_yaml, sources={"outcomes": CSV | {"metrics": whole}})) == []
    by_column = CSV | {"columns": CSV["columns"] | {"metric_name": "event"}}
    assert unseen_in_mapping(with_keys(project, write_yaml, sources={"outcomes": by_column})) == []


def test_a_dimension_that_the_mapped_attributes_never_have_is_named(project: Project, write_yaml: WriteYaml) -> None:
    attributes = {"format": "csv", "location": "own", "constants": {"dimension": "land"}}
    mapped = with_keys(project, write_yaml, sources={"attributes": attributes}, dimensions=["lands"])
    assert unseen_in_mapping(mapped) == [
        f"configs/experiments/{ID}.yaml: sources: dimensions: no attribute has dimension 'lands'; found land; "
        "did you mean 'land'?"
    ]
