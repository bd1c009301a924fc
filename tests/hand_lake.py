"""A lake with hand-made statistics, and what a test reads from it: no Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from tests.conftest import make_project

from exp_platform.config.load import Project, load_project
from exp_platform.config.models import Experiment, Metric
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.plan import AnalysisPlan


def clone(folder: Path, metrics: list[Metric], plan: AnalysisPlan, **profile: Any) -> Project:
    """A project whose registry holds the test's experiment and metrics, with some keys of its profile changed."""
    project = make_project(folder, **profile)
    for metric in metrics:
        content = metric.model_dump(mode="json", exclude_none=True)
        (folder / "configs" / "metrics" / f"{metric.name}.yaml").write_text(yaml.safe_dump(content))
    return configured(project, plan.experiment)


def configured(project: Project, experiment: Experiment) -> Project:
    """The project with the experiment's registry file written anew."""
    registry = experiment.model_dump(mode="json", exclude_none=True)
    file = project.root / "configs" / "experiments" / f"{experiment.experiment_id}.yaml"
    file.write_text(yaml.safe_dump(registry))
    return load_project(project.path)


def put(project: Project, name: str, rows: pa.Table) -> None:
    """Write rows as the stage before would have."""
    schema = arrow_schema(TABLES[name])
    load_handle(project, name).append(rows.select(schema.names).cast(schema))


def quality_rows(assigned: list[dict[str, Any]]) -> pa.Table:
    """gold.fct_experiment_quality_metrics_daily with nothing but users."""
    schema = arrow_schema(TABLES["gold.fct_experiment_quality_metrics_daily"])
    filled = [
        {f.name: 0 if pa.types.is_integer(f.type) else None for f in schema} | {"experiment_id": "exp_test"} | row
        for row in assigned
    ]
    return pa.Table.from_pylist(filled, schema=schema)


def answers(project: Project, name: str) -> list[dict[str, Any]]:
    rows = load_handle(project, name).scan(row_filter="experiment_id = 'exp_test'").to_arrow().to_pylist()
    kept = [{column: row[column] for column in TABLES[name].answer_columns} for row in rows]
    return sorted(kept, key=lambda row: [str(row[column]) for column in TABLES[name].grain])
