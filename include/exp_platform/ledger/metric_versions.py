"""The definition behind each version of a metric: kept at first use, and binding from then on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException

from exp_platform.config.definition import definition_of, differences, fingerprint
from exp_platform.config.load import Project
from exp_platform.config.models import Metric
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import existing_handle, load_handle
from exp_platform.lake.ops import overwrite_rows, read_rows
from exp_platform.lake.tables.names import METRIC_VERSIONS

_ATTEMPTS = 20


def known_versions(project: Project, names: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of `ops.metric_versions` for these metrics; none where there is no lake, which is not created here."""
    wanted, handle = tuple(names), existing_handle(project, METRIC_VERSIONS)
    return read_rows(handle, {"metric_name": wanted}) if wanted and handle else []


def conflicts(metrics: Iterable[Metric], known: Iterable[Mapping[str, Any]], folder: str) -> list[str]:
    """One sentence for each metric whose version was first used with another definition."""
    kept = {(row["metric_name"], row["version"]): row for row in known}
    found = []
    for metric in metrics:
        row = kept.get((metric.name, metric.version))
        definition = definition_of(metric)
        if row is not None and row["fingerprint"] != fingerprint(definition):
            changes = "; ".join(differences(json.loads(row["definition"]), definition))
            highest = max(version for name, version in kept if name == metric.name)
            found.append(
                f"{folder}/{metric.name}.yaml: version: {metric.version} was first used on "
                f"{row['first_used_at']:%Y-%m-%d} with another definition ({changes}); results under one version "
                f"must mean one thing: set version to {highest + 1}, or take the change back"
            )
    return found


def bind(project: Project, metrics: Iterable[Metric], now: datetime, catalog: Catalog | None = None) -> None:
    """Keep the definition of each version that was never used; refuse a version that was used with another one."""
    metrics = tuple(metrics)
    for attempt in range(_ATTEMPTS):
        handle = load_handle(project, METRIC_VERSIONS, catalog)
        known = read_rows(handle, {"metric_name": tuple(metric.name for metric in metrics)})
        problems = conflicts(metrics, known, project.profile.metrics_dir)
        if problems:
            raise ConfigError("\n".join(problems))
        have = {(row["metric_name"], row["version"]) for row in known}
        new = [_row(metric, now) for metric in metrics if (metric.name, metric.version) not in have]
        if not new:
            return
        try:
            names = {row["metric_name"] for row in new}
            kept = [row for row in known if row["metric_name"] in names]
            overwrite_rows(handle, METRIC_VERSIONS, {"metric_name": tuple(sorted(names))}, kept + new)
            return
        except (ValidationException, CommitFailedException):
            if attempt + 1 == _ATTEMPTS:
                raise


def _row(metric: Metric, now: datetime) -> dict[str, Any]:
    definition = definition_of(metric)
    return {
        "metric_name": metric.name,
        "version": metric.version,
        "fingerprint": fingerprint(definition),
        "definition": json.dumps(definition, sort_keys=True),
        "first_used_at": now,
    }
