"""ops.configurations: the configuration behind each config hash, so that a past run can be computed as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pyiceberg.catalog import Catalog

from exp_platform.config.definition import FOR_PEOPLE, differences
from exp_platform.config.load import Project
from exp_platform.config.models import ContractSettings, Experiment, Metric, QualitySettings, Stream
from exp_platform.config.policy import FOLDER, Policy, load_policy
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import existing_handle, load_handle
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.tables.names import CONFIGURATIONS

Content = Mapping[str, Any]
SAYS_NOTHING = ("name", "owner", "hypothesis", "status")  # settings that change no number


def content_of(project: Project, experiment: Experiment) -> dict[str, Any]:
    """All that the config hash covers, as JSON knows it."""
    names = dict.fromkeys(name for m in project.metrics_of(experiment) for name in (m.name, *m.covariates))
    streams = sorted({name for names in experiment.streams.values() for name in names})
    return {
        "experiment": _plain(experiment),
        "metrics": {name: _plain(project.metrics[name]) for name in names},
        "policy": _plain(load_policy(project.root, experiment.decision_policy)),
        "contracts": _plain(project.profile.contracts),
        "quality": _plain(project.profile.quality),
        "streams": {name: _plain(project.streams[name]) for name in streams},
    }


def keep_configuration(
    project: Project, experiment: Experiment, run_id: str, now: datetime, catalog: Catalog | None = None
) -> bool:
    """Keep the experiment's configuration under its hash; False where a run has kept this one before."""
    key = {"experiment_id": experiment.experiment_id, "config_hash": project.config_hash(experiment)}
    if read_rows(load_handle(project, CONFIGURATIONS, catalog), key):
        return False
    text = json.dumps(content_of(project, experiment), sort_keys=True, ensure_ascii=False)
    row = {**key, "configuration": text, "first_run_id": run_id, "first_used_at": now}
    replace_rows(project, CONFIGURATIONS, key, [row], catalog)
    return True


def kept_configuration(project: Project, experiment_id: str, config_hash: str) -> Content | None:
    """The configuration behind a hash; None where no run has kept it."""
    handle = existing_handle(project, CONFIGURATIONS)
    rows = read_rows(handle, {"experiment_id": experiment_id, "config_hash": config_hash}) if handle else []
    found: Content | None = json.loads(rows[0]["configuration"]) if rows else None
    return found


def rebuilt(project: Project, experiment_id: str, config_hash: str, content: Content, folder: Path) -> Project | None:
    """The project with one experiment configured as kept; None where this code gives another hash for it.

    A policy that differs from today's is written below `folder`, which then is the root of the project.
    """
    try:
        experiment = Experiment.model_validate(content["experiment"])
        metrics = {name: Metric.model_validate(metric) for name, metric in content["metrics"].items()}
        streams = {name: Stream.model_validate(stream) for name, stream in content["streams"].items()}
        contracts = ContractSettings.model_validate(content["contracts"])
        quality = QualitySettings.model_validate(content["quality"])
        policy = Policy.model_validate(content["policy"])
    except ValidationError:
        return None  # a key that this release refuses
    then = replace(
        project,
        root=_root_with(project, policy, folder),
        experiments=project.experiments | {experiment_id: experiment},
        metrics=project.metrics | metrics,
        streams=project.streams | streams,
        profile=project.profile.model_copy(update={"contracts": contracts, "quality": quality}),
        broken={name: why for name, why in project.broken.items() if name != experiment_id},
    )
    return then if then.config_hash(experiment) == config_hash else None


def settings_differ(before: Content, after: Content) -> list[str]:
    """Each setting that differs and can change a number, with both values; definitions of metrics are none."""
    return differences(_settings_of(before), _settings_of(after))


def definitions_differ(before: Content, after: Content) -> list[str]:
    """Each key of a definition that differs, with both values; of the metrics that both configurations have."""
    old, new = before["metrics"], after["metrics"]
    return [
        f"{name}: {text}"
        for name in old
        if name in new
        for text in differences(_defined(old[name]), _defined(new[name]))
    ]


def _settings_of(content: Content) -> dict[str, Any]:
    experiment = {key: value for key, value in content["experiment"].items() if key not in SAYS_NOTHING}
    return {"experiment": experiment} | {key: content[key] for key in ("policy", "contracts", "quality", "streams")}


def _defined(metric: Content) -> dict[str, Any]:
    """The keys of a metric's contract that change results."""
    return {key: value for key, value in metric.items() if key not in FOR_PEOPLE}


def _root_with(project: Project, policy: Policy, folder: Path) -> Path:
    try:
        if load_policy(project.root, policy.name) == policy:
            return project.root
    except ConfigError:
        pass  # today there is no such policy, or a broken one
    file = folder / FOLDER / f"{policy.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(_plain(policy)), encoding="utf-8")
    return folder


def _plain(model: Any) -> Any:
    return model.model_dump(mode="json", exclude_none=True)
