"""Every mistake in the configuration ends in one sentence: file, key, found, allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exp_platform.config.load import Project, check_experiment_id, load_project
from exp_platform.errors import ConfigError

METRIC = "configs/metrics/conversion.yaml"
RATIO = "configs/metrics/revenue_per_session.yaml"
RETENTION = "configs/metrics/retention_week_2.yaml"
EVENT_QUANTILE = "configs/metrics/latency_p90.yaml"
EXPERIMENT = "configs/experiments/exp_checkout_button_001.yaml"
EXPERIMENT_ID = "exp_checkout_button_001"


def change(root: Path, file: str, edit: Callable[[dict[str, Any]], object]) -> None:
    path = root / file
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def put(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update(values)


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.pop(key)


def shares(first: float, second: float) -> dict[str, Any]:
    return {
        "variants": [
            {"id": "control", "allocation": first, "is_control": True},
            {"id": "treatment", "allocation": second},
        ]
    }


METRIC_MISTAKES = [
    (METRIC, put(directon="increase"), "directon: unknown key; did you mean 'direction'"),
    (METRIC, drop("direction"), "direction: missing, and it is required"),
    (METRIC, put(direction="up"), "direction: found 'up'"),
    (METRIC, put(name="revenue"), "name: 'revenue' must equal the file's name 'conversion'"),
    (METRIC, put(version=0), "version: found 0"),
    (METRIC, put(practical_threshold=1, decision_scale="absolute"), "practical_threshold: found 1, must be below 1"),
    (METRIC, put(window={"start_hours": 0}), "window.end_hours"),
    (METRIC, put(window={"start_hours": 48, "end_hours": 24}), "window.end_hours: found 24.0, must be more than"),
    (METRIC, put(window={"start_hours": -1, "end_hours": 24}), "window.start_hours: found -1.0"),
    (METRIC, put(cap={"value": 1}), "cap: a metric of type binary cannot be capped"),
    (EVENT_QUANTILE, put(cap={"quantile": 0.99}), "cap.quantile: a quantile of events has no value of each unit"),
    (METRIC, put(aggregation="sum"), "aggregation: found sum, type binary allows any"),
    (METRIC, put(quantile=0.5), "quantile: only a quantile metric has one"),
    (METRIC, put(covariates=["sesions"]), "covariates: metric 'sesions' not found; did you mean 'sessions'?"),
    (METRIC, put(covariates=["revenue", "revenue"]), "covariates: 'revenue' is there twice"),
    (METRIC, put(covariates=["conversion"]), "covariates: 'conversion' is the metric itself"),
    (METRIC, put(covariates=["latency_p90"]), "covariates: 'latency_p90' is a quantile of events"),
    (METRIC, put(covariates=["revenue"] * 9), "covariates: found ['revenue', 'revenue',"),
    (EVENT_QUANTILE, put(covariates=["revenue"]), "covariates: a quantile metric has none"),
    (RATIO, drop("denominator"), "denominator: a ratio needs a denominator"),
    (RATIO, put(cap={"value": 1, "quantile": 0.9}), "cap: give exactly one of value and quantile"),
    (
        RETENTION,
        put(window={"start_hours": 0, "end_hours": 24}),
        "window.start_hours: found 0.0, must be more than 0",
    ),
]


@pytest.mark.parametrize(("file", "edit", "sentence"), METRIC_MISTAKES)
def test_a_metric_that_breaks_a_rule_is_refused_at_load(
    project: Project, file: str, edit: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    change(project.root, file, edit)
    loaded = load_project(project.path)
    name = Path(file).stem
    assert re.search(rf"{file}(:\d+)?: {re.escape(sentence)}", loaded.broken_metrics[name])
    users = {i for i, e in project.experiments.items() if name in {m.name for m in project.metrics_of(e)}}
    assert loaded.broken.keys() == users
    assert all(sentence in reason for reason in loaded.broken.values())


def test_a_refusal_names_the_line(project: Project) -> None:
    path = project.root / METRIC
    path.write_text(path.read_text().replace("direction: increase", "direction: up"))
    line = path.read_text().splitlines().index("direction: up") + 1
    assert f"{METRIC}:{line}: direction: found 'up'" in load_project(project.path).broken_metrics["conversion"]


def test_every_broken_file_is_found_in_one_pass(project: Project) -> None:
    change(project.root, METRIC, put(version=0, direction="up"))
    change(project.root, RATIO, drop("denominator"))
    change(project.root, EXPERIMENT, put(alpha=0.7))
    loaded = load_project(project.path)
    assert {"conversion", "revenue_per_session"} == loaded.broken_metrics.keys()
    assert loaded.broken_metrics["conversion"].count("\n") == 1, "both of its mistakes"
    assert "alpha: found 0.7" in loaded.broken[EXPERIMENT_ID]


def test_a_broken_metric_that_no_experiment_uses_stops_nobody(project: Project) -> None:
    (project.root / "configs/metrics/unused.yaml").write_text("name: unused\n")
    loaded = load_project(project.path)
    assert loaded.broken_metrics.keys() == {"unused"} and not loaded.broken


def arms(control: float | None, treatment: float | None) -> dict[str, Any]:
    """Two arms, with the key `allocation` only where there is one."""
    shares = {"control": control, "treatment": treatment}
    variants: list[dict[str, Any]] = [
        {"id": arm} | ({} if share is None else {"allocation": share}) for arm, share in shares.items()
    ]
    return {"variants": [variants[0] | {"is_control": True}, variants[1]]}


EXPERIMENT_MISTAKES = [
    (put(**shares(0.7, 0.5)), "variants: shares add up to 1.2, must be 1.0"),
    (put(**arms(None, 0.5)), "'control' has no allocation, but an arm drawn at random promises its share: give it one"),
    (put(**arms(None, None)), "'treatment' has no allocation, but an arm drawn at random promises its share"),
    (put(**arms(0.5, None), design="rollout"), "'treatment' has no allocation, but other arms have one: give it one"),
    (put(**arms(0.5, 0.6), design="rollout"), "variants: shares add up to 1.1, must be 1.0"),
    (put(variants=[]), "variants: found 0, an experiment needs a control and at least one treatment"),
    (put(variants=[{"id": "a", "allocation": 0.5}, {"id": "b", "allocation": 0.5}]), "exactly one needs is_control"),
    (drop("variants"), "variants: missing, and it is required"),
    (drop("analysis_mode"), "analysis_mode: missing, and it is required"),
    (
        put(stratify_by="contry"),
        "stratify_by: found 'contry', must be one of dimensions (country, platform, user_type)",
    ),
    (put(primary_metric="converson"), "metric 'converson' not found; did you mean 'conversion'?"),
    (put(guardrails=[{"metric": "latency"}]), "no margin: give one of max_relative_harm and max_absolute_harm"),
    (
        put(guardrails=[{"metric": "latency", "max_relative_harm": 0.1, "max_absolute_harm": 2}]),
        "a margin of both kinds: give one of max_relative_harm and max_absolute_harm",
    ),
    (put(guardrails=[{"metric": "latency", "max_absolute_harm": 0}]), "guardrails.0.max_absolute_harm: found 0"),
    (put(guardrails=[{"metric": "latency", "max_relative_harm": 5}]), "found 5 for 'latency', which is 500%"),
    (put(guardrails=[{"metric": "conversion", "max_absolute_harm": 1.1}]), "for 'conversion', which is 110%"),
    (put(guardrails=[{"metric": "speed", "max_relative_harm": 0.1}]), "guardrails: metric 'speed' not found"),
    (put(end_ts="2026-01-01T00:00:00Z"), "end_ts: found 2026-01-01"),
    (put(experiment_id="exp_other"), "experiment_id: 'exp_other' must equal the file's name"),
    (put(unit="session"), "unit: found 'session'"),
    (put(alpha=0.7), "alpha: found 0.7"),
    (put(alpha=1e-17), "alpha: found 1e-17"),
    (put(design="rollout", decision_method="ab"), "decision_method: found ab, a rollout is decided by did"),
]


@pytest.mark.parametrize(("edit", "sentence"), EXPERIMENT_MISTAKES)
def test_a_broken_experiment_is_refused_and_the_others_still_load(
    project: Project, edit: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    change(project.root, EXPERIMENT, edit)
    loaded = load_project(project.path)
    with pytest.raises(ConfigError) as refused:
        loaded.experiment(EXPERIMENT_ID)
    assert sentence in str(refused.value)
    assert EXPERIMENT in str(refused.value)
    assert loaded.experiment("exp_add_cart_002").name


@pytest.mark.parametrize(("control", "treatment", "shares"), [(None, None, (0.5, 0.5)), (0.8, 0.2, (0.8, 0.2))])
def test_a_rollout_promises_the_shares_of_its_arms_or_none(
    project: Project, control: float | None, treatment: float | None, shares: tuple[float, float]
) -> None:
    change(project.root, EXPERIMENT, put(**arms(control, treatment), design="rollout"))
    experiment = load_project(project.path).experiment(EXPERIMENT_ID)
    assert [v.allocation for v in experiment.live_variants] == [control, treatment]
    assert experiment.shares == dict(zip(("control", "treatment"), shares, strict=True))


@pytest.mark.parametrize("bad", ["../etc", "exp/1", "exp'1", 'exp"1', "Exp_1", "ab", "1exp", "exp_1\n", "", "e" * 65])
def test_an_experiment_id_is_letters_digits_and_underscores_as_a_whole(bad: str) -> None:
    with pytest.raises(ConfigError, match="is not allowed"):
        check_experiment_id(bad)


def test_an_unknown_experiment_is_told_what_is_near(project: Project) -> None:
    with pytest.raises(ConfigError, match="did you mean 'exp_add_cart_002'"):
        project.experiment("exp_add_carts_002")


def test_the_same_metric_name_in_two_files_is_refused(project: Project) -> None:
    (project.root / "configs/metrics/conversion2.yaml").write_text((project.root / METRIC).read_text())
    refused = load_project(project.path).broken_metrics
    assert refused.keys() == {"conversion2"}
    assert "name: 'conversion' must equal the file's name 'conversion2'" in refused["conversion2"]


def test_a_key_written_twice_is_refused(project: Project) -> None:
    path = project.root / METRIC
    path.write_text(path.read_text() + "version: 2\n")
    assert "the key 'version' is there twice" in load_project(project.path).broken_metrics["conversion"]


def test_broken_yaml_names_the_file(project: Project) -> None:
    (project.root / METRIC).write_text("name: [")
    assert "configs/metrics/conversion.yaml: not valid YAML" in load_project(project.path).broken_metrics["conversion"]


def test_a_secret_that_is_not_set_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXP_CATALOG_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match=r"\$\{EXP_CATALOG_PASSWORD\} is not set"):
        load_project(project.root / "configs/prod.yaml")
