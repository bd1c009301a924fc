"""The first use of a metric's version binds its definition."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests.empty_lake import empty_lake

from exp_platform.config.definition import definition_of
from exp_platform.config.load import Project
from exp_platform.config.models import Metric
from exp_platform.errors import ConfigError
from exp_platform.ledger.metric_versions import bind, conflicts, known_versions
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage

NOW = datetime(2026, 2, 3, tzinfo=UTC)
ID = "exp_checkout_button_001"


def metric(**changes: Any) -> Metric:
    content = {
        "name": "revenue",
        "version": 1,
        "description": "Money.",
        "owner": "payments",
        "type": "sum",
        "window": {"end_hours": 168},
        "direction": "increase",
    }
    return Metric.model_validate(content | changes)


@pytest.fixture
def lake(project: Project) -> Project:
    empty_lake(project)
    return project


def test_a_version_keeps_the_definition_that_it_was_first_used_with(lake: Project) -> None:
    bind(lake, [metric()], NOW)
    bind(lake, [metric(description="Money, in euros.", owner="shop")], NOW)
    [row] = known_versions(lake, ["revenue"])
    assert (row["version"], row["first_used_at"]) == (1, NOW)
    assert json.loads(row["definition"])["window"] == {"end_hours": 168.0}


def test_another_definition_under_the_same_version_is_refused_with_what_changed(lake: Project) -> None:
    bind(lake, [metric()], NOW)
    with pytest.raises(ConfigError, match=r"metrics/revenue.yaml: version: 1 was first used on 2026-02-03") as caught:
        bind(lake, [metric(window={"end_hours": 72})], NOW)
    assert "window.end_hours: 168.0 → 72.0" in str(caught.value) and "set version to 2" in str(caught.value)


def test_a_new_version_is_kept_beside_the_old_one_and_both_go_on(lake: Project) -> None:
    bind(lake, [metric(), metric(name="orders", type="count")], NOW)
    bind(lake, [metric(version=2, window={"end_hours": 72})], NOW)
    bind(lake, [metric()], NOW)
    assert sorted((r["metric_name"], r["version"]) for r in known_versions(lake, ["revenue", "orders"])) == [
        ("orders", 1),
        ("revenue", 1),
        ("revenue", 2),
    ]


def test_a_key_at_its_default_is_no_part_of_the_definition() -> None:
    assert definition_of(metric()) == definition_of(metric(decision_scale="absolute", practical_threshold=0.0))
    assert definition_of(metric()) != definition_of(metric(practical_threshold=0.01))
    assert not conflicts([metric()], [], "configs/metrics")


def test_a_run_whose_metric_has_changed_under_its_version_ends_at_its_first_stage(lake: Project) -> None:
    run_stage(Run(lake, ID, date(2026, 2, 1), "r1"), BY_NAME["sync_registry"])
    changed = lake.metrics["revenue"].model_copy(update={"practical_threshold": 0.123})
    lake.metrics["revenue"] = changed
    with pytest.raises(ConfigError, match=r"practical_threshold: .* → 0.123"):
        run_stage(Run(lake, ID, date(2026, 2, 1), "r2"), BY_NAME["sync_registry"])
