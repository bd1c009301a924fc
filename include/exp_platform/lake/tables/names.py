"""The name of every table, as people and dashboards use it: a promise that does not change."""

from __future__ import annotations

EXPERIMENT_REGISTRY = "exp.experiment_registry"
ASSIGNMENTS = "exp.assignments"
EXPOSURES = "exp.exposures"
OUTCOMES = "exp.outcomes"
ATTRIBUTES = "exp.attributes"

DIM_EXPERIMENT = "silver.dim_experiment"
DIM_EXPERIMENT_VARIANT = "silver.dim_experiment_variant"
FACT_ASSIGNMENT = "silver.fact_assignment_canonical"
FACT_EXPOSURE = "silver.fact_exposure"
EXPOSURE_VALIDATION = "silver.int_experiment_exposure_validation"

QUALITY_METRICS_DAILY = "gold.fct_experiment_quality_metrics_daily"
EXPOSURE_QUALITY_DAILY = "gold.fct_experiment_exposure_quality_daily"
COHORT = "gold.fct_experiment_cohort"
UNIT_OUTCOMES = "gold.fct_experiment_unit_outcomes"
METRIC_STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL_STATISTICS = "gold.fct_experiment_panel_statistics"
STATISTICAL_VALIDATION = "gold.fct_experiment_statistical_validation"
GUARDRAIL_STATUS = "gold.fct_experiment_guardrail_status"
DECISION = "gold.fct_experiment_decision"

METRIC_AGGREGATES_OVERALL = "exp.metric_aggregates_overall"
METRIC_AGGREGATES_DAILY = "exp.metric_aggregates_daily"
ANALYSIS_RESULTS = "exp.analysis_results"
PRETREND_DELTA = "exp.did_pretrend_delta"
PRETREND_TESTS = "exp.did_pretrend_tests"

SEALED_PLAN = "ops.sealed_plan"
RUN_CLAIM = "ops.run_claim"
RUN_MANIFEST = "ops.run_manifest"
CONTRACT_RESULTS = "ops.contract_results"
QUARANTINE = "ops.quarantine"
INGESTED_FILES = "ops.ingested_files"
ALERTS = "ops.alerts"
