"""Bind the versions of the metrics, keep the configuration, write the registry and its dimension tables."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from exp_platform.config.models import Experiment
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import DIM_EXPERIMENT, DIM_EXPERIMENT_VARIANT, EXPERIMENT_REGISTRY
from exp_platform.ledger.configurations import keep_configuration
from exp_platform.ledger.metric_versions import bind
from exp_platform.pipelines.sealed_plan import seal_plan

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

Row = dict[str, Any]


def registry_row(experiment: Experiment, config_hash: str, updated_at: datetime) -> Row:
    """The experiment's row of `exp.experiment_registry`."""
    content = experiment.model_dump(mode="python")
    derived = {
        "decision_method": experiment.method_in_force,
        "variants": json.dumps([v.model_dump() for v in experiment.variants]),
        "guardrails": json.dumps([g.model_dump() for g in experiment.guardrails]),
        "dimensions": list(experiment.dimensions),
        "metrics": list(experiment.metrics),
        "config_hash": config_hash,
        "updated_at": updated_at,
    }
    return {column: derived.get(column, content.get(column)) for column in TABLES[EXPERIMENT_REGISTRY].columns}


def dim_experiment_row(registry: Row) -> Row:
    """The experiment's row of `silver.dim_experiment`, taken from its registry row."""
    return {column: registry[column] for column in TABLES[DIM_EXPERIMENT].columns}


def dim_variant_rows(experiment: Experiment, updated_at: datetime) -> list[Row]:
    """Rows of `silver.dim_experiment_variant`, one per arm; expected_allocation sums to 1, or is null."""
    return [
        {
            "experiment_id": experiment.experiment_id,
            "variant_id": variant.id,
            "is_control": variant.is_control,
            "expected_allocation": variant.allocation,
            "updated_at": updated_at,
        }
        for variant in experiment.variants
    ]


def run(ctx: StageContext) -> None:
    """Refuse a metric that changed under its version; keep the configuration, replace three tables, seal the plan."""
    experiment, project = ctx.run.experiment, ctx.run.project
    names = dict.fromkeys(
        name for metric in project.metrics_of(experiment) for name in (metric.name, *metric.covariates)
    )
    bind(project, [project.metrics[name] for name in names], ctx.now)
    keep_configuration(project, experiment, ctx.run.run_id, ctx.now, ctx.read.catalog)
    registry = registry_row(experiment, ctx.run.config_hash, ctx.now)
    ctx.publish(EXPERIMENT_REGISTRY, [registry])
    ctx.publish(DIM_EXPERIMENT, [dim_experiment_row(registry)])
    ctx.publish(DIM_EXPERIMENT_VARIANT, dim_variant_rows(experiment, ctx.now))
    seal_plan(ctx)
