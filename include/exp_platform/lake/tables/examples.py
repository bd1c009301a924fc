"""One example for each table: a question that people have, and the query that answers it.

The queries are read by Spark as they are, and by DuckDB where the tables are views of the same names; `iceberg` is the
catalog. Each begins with a comment, the question.
"""

from __future__ import annotations

from exp_platform.lake.tables import names

_ONE = "WHERE experiment_id = 'exp_checkout_button_001'"


def _query(question: str, select: str, table: str, rest: str = "") -> str:
    return f"-- {question}\nSELECT {select}\nFROM iceberg.{table}\n{_ONE}{rest}"


EXAMPLES: dict[str, str] = {
    names.EXPERIMENT_REGISTRY: _query(
        "How was the experiment configured at its latest run?",
        "name, start_ts, end_ts, primary_metric, guardrails, config_hash",
        names.EXPERIMENT_REGISTRY,
    ),
    names.ASSIGNMENTS: _query(
        "How many assignment events does each arm have?",
        "variant, count(*) AS events, min(assignment_ts) AS first, max(assignment_ts) AS last",
        names.ASSIGNMENTS,
        "\nGROUP BY variant",
    ),
    names.EXPOSURES: _query(
        "How many users did each arm reach?",
        "variant, count(DISTINCT user_id) AS users",
        names.EXPOSURES,
        "\nGROUP BY variant",
    ),
    names.OUTCOMES: _query(
        "Which outcome events are there?",
        "metric_name, count(*) AS events, max(outcome_ts) AS last",
        names.OUTCOMES,
        "\nGROUP BY metric_name",
    ),
    names.ATTRIBUTES: _query(
        "Which values does each dimension have?",
        "dimension, value, count(DISTINCT user_id) AS users",
        names.ATTRIBUTES,
        "\nGROUP BY dimension, value",
    ),
    names.STREAM_ASSIGNMENTS: _query(
        "How many assignments does each stream hold of the experiment?",
        "stream, variant, count(*) AS events",
        names.STREAM_ASSIGNMENTS,
        "\nGROUP BY stream, variant",
    ),
    names.STREAM_EXPOSURES: _query(
        "How many of its users does each stream see exposed?",
        "stream, variant, count(DISTINCT user_id) AS users",
        names.STREAM_EXPOSURES,
        "\nGROUP BY stream, variant",
    ),
    names.STREAM_OUTCOMES: (
        "-- Which outcome events does each stream hold, and up to when?\n"
        "SELECT stream, metric_name, count(*) AS events, max(outcome_ts) AS last\n"
        f"FROM iceberg.{names.STREAM_OUTCOMES}\nGROUP BY stream, metric_name"
    ),
    names.STREAM_ATTRIBUTES: (
        "-- Which dimensions does each stream hold?\n"
        "SELECT stream, dimension, count(DISTINCT user_id) AS users\n"
        f"FROM iceberg.{names.STREAM_ATTRIBUTES}\nGROUP BY stream, dimension"
    ),
    names.DIM_EXPERIMENT: (
        "-- Which experiments run now, and whose are they?\n"
        "SELECT experiment_id, name, owner, end_ts\n"
        f"FROM iceberg.{names.DIM_EXPERIMENT}\nWHERE status = 'running'"
    ),
    names.DIM_EXPERIMENT_VARIANT: _query(
        "Which share of the users was promised to each arm?",
        "variant_id, is_control, expected_allocation",
        names.DIM_EXPERIMENT_VARIANT,
    ),
    names.FACT_ASSIGNMENT: _query(
        "How many users were validly assigned to each arm?",
        "variant_id, count(*) AS users",
        names.FACT_ASSIGNMENT,
        " AND is_valid\nGROUP BY variant_id",
    ),
    names.FACT_EXPOSURE: _query(
        "Why do exposures not count?",
        "invalid_reason, count(*) AS exposures",
        names.FACT_EXPOSURE,
        " AND NOT is_valid\nGROUP BY invalid_reason",
    ),
    names.EXPOSURE_VALIDATION: _query(
        "Which users met more than one arm?",
        "user_id, variant_id, n_exposures, first_exposure_utc",
        names.EXPOSURE_VALIDATION,
        " AND multi_variation_exposure",
    ),
    names.QUALITY_METRICS_DAILY: _query(
        "Which share of the assigned users was exposed, day by day?",
        "date, variant_id, assigned, exposed, exposure_rate",
        names.QUALITY_METRICS_DAILY,
        "\nORDER BY date, variant_id",
    ),
    names.EXPOSURE_QUALITY_DAILY: _query(
        "Which days of logging were bad, and why?",
        "date, check_name, observed, expected, detail",
        names.EXPOSURE_QUALITY_DAILY,
        " AND status = 'fail'\nORDER BY date",
    ),
    names.COHORT: _query(
        "How many users are analysed, and why are the others left out?",
        "variant_id, exclusion_reason, count(*) AS users",
        names.COHORT,
        "\nGROUP BY variant_id, exclusion_reason",
    ),
    names.UNIT_OUTCOMES: _query(
        "What is each arm's mean of a metric, before any cap?",
        "variant_id, count(*) AS users, avg(metrics['revenue']) AS revenue",
        names.UNIT_OUTCOMES,
        "\nGROUP BY variant_id",
    ),
    names.METRIC_STATISTICS: _query(
        "What is each arm's mean after the cap? Name one of the two grouping sets; never add up both.",
        "metric_name, variant_id, sum(y) / sum(n) AS mean",
        names.METRIC_STATISTICS,
        " AND segment = 'all' AND unit_bucket = -1\nGROUP BY metric_name, variant_id",
    ),
    names.EXPOSURE_STATISTICS: _query(
        "How do exposed and other users differ, over cohort dates?",
        "metric_name, variant_id, segment, sum(y) / sum(n) AS mean",
        names.EXPOSURE_STATISTICS,
        " AND unit_bucket = -1\nGROUP BY metric_name, variant_id, segment",
    ),
    names.METRIC_SERIES: _query(
        "How did each arm's mean grow up over the days?",
        "metric_name, variant_id, as_of, sum(y) OVER so_far / sum(n) OVER so_far AS mean",
        names.METRIC_SERIES,
        "\nWINDOW so_far AS (PARTITION BY metric_name, variant_id ORDER BY as_of)",
    ),
    names.PANEL_STATISTICS: _query(
        "What was each arm's daily mean before the assignment?",
        "metric_name, variant_id, day_i, sum(sum_i) / sum(n) AS mean",
        names.PANEL_STATISTICS,
        " AND day_i = day_j\nGROUP BY metric_name, variant_id, day_i\nORDER BY metric_name, variant_id, day_i",
    ),
    names.EXCLUDED_DAYS: _query(
        "How many users does each excluded day touch?",
        "entry, what, metric_name, users, of_users",
        names.EXCLUDED_DAYS,
    ),
    names.STATISTICAL_VALIDATION: _query(
        "Which checks spoke up, on which day?",
        "dt, check_name, metric_name, variant_id, observed, threshold, detail",
        names.STATISTICAL_VALIDATION,
        " AND status <> 'ok'\nORDER BY dt",
    ),
    names.GUARDRAIL_STATUS: _query(
        "How near is each guardrail to its margin?",
        "dt, metric_name, variant_id, harm, bound, margin, status",
        names.GUARDRAIL_STATUS,
        "\nORDER BY dt, metric_name, variant_id",
    ),
    names.DECISION: _query(
        "How did the decision develop?",
        "dt, trust, decision, reasons",
        names.DECISION,
        " AND variant_id = 'all'\nORDER BY dt",
    ),
    names.LATEST_RESULTS: (
        "-- Where do all experiments stand?\n"
        "SELECT experiment_id, dt, variant_id, decision, trust, effect, ci_low, ci_high, decision_scale\n"
        f"FROM iceberg.{names.LATEST_RESULTS}\nWHERE role = 'primary' AND trust <> 'not_trusted'"
    ),
    names.METRIC_AGGREGATES_OVERALL: _query(
        "How large is each segment, and what is its mean?",
        "segment, variant_id, n, sum / n AS mean",
        names.METRIC_AGGREGATES_OVERALL,
        " AND metric_name = 'revenue' AND n > 0",
    ),
    names.METRIC_AGGREGATES_DAILY: _query(
        "How much of a metric came in on each calendar day?",
        "date, variant_id, sum, n",
        names.METRIC_AGGREGATES_DAILY,
        " AND metric_name = 'revenue'\nAND date_kind = 'calendar' AND segment = 'all'\nORDER BY date, variant_id",
    ),
    names.ANALYSIS_RESULTS: _query(
        "How did the deciding effects develop, with the interval that may be looked at every day?",
        "dt, metric_name, variant_id, effect_abs, anytime_ci_low, anytime_ci_high",
        names.ANALYSIS_RESULTS,
        " AND is_deciding\nORDER BY metric_name, variant_id, dt",
    ),
    names.PRETREND_DELTA: _query(
        "Did the arms differ before the assignment?",
        "dt, metric_name, variant_id, relative_day, delta, ci_low, ci_high",
        names.PRETREND_DELTA,
        "\nORDER BY dt, metric_name, variant_id, relative_day",
    ),
    names.PRETREND_TESTS: _query(
        "Did the tests of parallel trends pass?",
        "dt, metric_name, variant_id, test, p_value_adjusted, verdict, reason",
        names.PRETREND_TESTS,
    ),
    names.SEALED_PLAN: _query(
        "What was planned at the start, and what was changed since?",
        "seal, dt, sealed_at, changes, effect_on_verdict",
        names.SEALED_PLAN,
        "\nORDER BY seal",
    ),
    names.RUN_CLAIM: _query(
        "Which run may publish for the experiment?",
        "run_id, dt, claimed_at, released_at, started_by",
        names.RUN_CLAIM,
    ),
    names.RUN_MANIFEST: _query(
        "Which stages of each run failed, and with which error?",
        "run_id, dt, stage, error",
        names.RUN_MANIFEST,
        " AND status = 'failed'\nORDER BY run_id, stage",
    ),
    names.CONTRACT_RESULTS: _query(
        "Which rules were broken, and by which rows?",
        "run_id, stage, expectation, severity, unexpected_count, sample",
        names.CONTRACT_RESULTS,
        " AND NOT success\nORDER BY run_id, stage",
    ),
    names.QUARANTINE: _query(
        "Which raw rows were refused, and why?",
        "dataset, rule, source_file, count",
        names.QUARANTINE,
    ),
    names.INGESTED_FILES: _query(
        "Which raw files were read?",
        "dataset, path, rows, refused, ingested_at",
        names.INGESTED_FILES,
        "\nORDER BY dataset, path",
    ),
    names.ALERTS: _query(
        "Which alerts were not delivered?",
        "dt, kind, subject, attempts, last_error",
        names.ALERTS,
        " AND state <> 'sent'",
    ),
    names.METRIC_VERSIONS: (
        "-- Which definition did each version of a metric have?\n"
        "SELECT metric_name, version, first_used_at, definition\n"
        f"FROM iceberg.{names.METRIC_VERSIONS}\nORDER BY metric_name, version"
    ),
    names.CONFIGURATIONS: _query(
        "Which configurations have its runs had?",
        "config_hash, first_run_id, first_used_at",
        names.CONFIGURATIONS,
        "\nORDER BY first_used_at",
    ),
    names.SECOND_OPINIONS: _query(
        "Which published numbers did a second implementation check, and do they differ?",
        "dt, metric_name, variant_id, compared, differ, not_checked, detail, checked_at",
        names.SECOND_OPINIONS,
        "\nORDER BY dt, metric_name, variant_id",
    ),
}
