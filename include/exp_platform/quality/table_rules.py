"""Rules that no contract can state: allowed words, columns in order, and agreement between tables.

The queries are Spark SQL; `{batch}` stands for the rows that are about to be published.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from exp_platform.lake.tables import QUALITY_FLAGS
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    ASSIGNMENTS,
    ATTRIBUTES,
    COHORT,
    DECISION,
    DIM_EXPERIMENT,
    DIM_EXPERIMENT_VARIANT,
    EXCLUDED_DAYS,
    EXPERIMENT_REGISTRY,
    EXPOSURE_QUALITY_DAILY,
    EXPOSURE_STATISTICS,
    EXPOSURE_VALIDATION,
    EXPOSURES,
    FACT_ASSIGNMENT,
    FACT_EXPOSURE,
    GUARDRAIL_STATUS,
    LATEST_RESULTS,
    METRIC_AGGREGATES_DAILY,
    METRIC_AGGREGATES_OVERALL,
    METRIC_SERIES,
    METRIC_STATISTICS,
    OUTCOMES,
    PANEL_STATISTICS,
    PRETREND_DELTA,
    PRETREND_TESTS,
    QUALITY_METRICS_DAILY,
    STATISTICAL_VALIDATION,
    UNIT_OUTCOMES,
)
from exp_platform.lake.tables.streams import STREAM_TABLES
from exp_platform.quality import outcome_volume, verdicts
from exp_platform.quality.rule import (
    Rule,
    between,
    has_rows,
    in_set,
    matches,
    mostly_true,
    no_row,
    ordered,
    parameter,
    sums_to_one,
    view_name,
)
from exp_platform.status import CheckStatus, Decision, GuardrailStatus, Method, PretrendVerdict, ResultStatus, Trust

INVALID_REASONS = (
    "excluded_date",
    "no_valid_assignment",
    "variant_mismatch",
    "pre_assignment",
    "outside_experiment",
    "outside_exposure_window",
)
EXCLUSION_REASONS = (
    "conflicted_assignment",
    "assignment_outside_window",
    "excluded_date",
    "multi_variation_exposure",
    "not_exposed",
)
SEGMENT = r"^(all|[^=]+=.*)$"


def _words(words: type[StrEnum]) -> list[str]:
    return [word.value for word in words]


def _shares(columns: Iterable[str]) -> tuple[Rule, ...]:
    return tuple(between(column, low=0, high=1) for column in columns)


_VARIANT = in_set("variant_id", parameter("variants"))
_METRIC = in_set("metric_name", parameter("metrics"))
_SEGMENT = matches("segment", SEGMENT, "is all or dimension=value")
_INTERVALS = tuple(
    ordered(f"{name}_low", f"{name}_high")
    for name in ("effect_abs_ci", "effect_rel_ci", "anytime_ci", "anytime_rel_ci")
)
_MOMENTS = (_METRIC, _VARIANT, _SEGMENT, between("n", low=0), between("n_null", low=0), between("sum_squares", low=0))
# Rates among the validly assigned users. Users with unassigned exposures are not among them and may be more.
_SHARES_OF_ASSIGNED = tuple(f"{flag}_rate" for flag in QUALITY_FLAGS if flag != "unassigned_exposure")

TABLE_RULES: dict[str, tuple[Rule, ...]] = {
    EXPERIMENT_REGISTRY: (has_rows(), ordered("start_ts", "end_ts", strict=True)),
    ASSIGNMENTS: (has_rows("warning"),),
    EXPOSURES: (has_rows("warning"),),
    OUTCOMES: (has_rows("warning"),),
    ATTRIBUTES: (),
    **{name: (has_rows("warning"),) for name in STREAM_TABLES},
    DIM_EXPERIMENT: (has_rows(), ordered("start_ts", "end_ts", strict=True)),
    DIM_EXPERIMENT_VARIANT: (
        has_rows(),
        sums_to_one("expected_allocation"),
        between("expected_allocation", low=0, high=1),
    ),
    FACT_ASSIGNMENT: (
        has_rows("warning"),
        _VARIANT,
        between("n_variants", low=1),
        ordered("n_variants", "n_assignment_events"),
        no_row(
            "is_valid means neither conflicted nor outside the window",
            """SELECT user_id FROM {batch} WHERE is_conflicted <> (n_variants > 1)
            OR is_valid <> NOT (is_conflicted OR is_outside_window)""",
        ),
        mostly_true("is_valid", True, 0.95, "at least 95% of the assignments are valid"),
    ),
    FACT_EXPOSURE: (
        _VARIANT,
        in_set("invalid_reason", INVALID_REASONS),
        no_row(
            "an exposure is valid where it has no reason not to be",
            "SELECT user_id, exposure_time_utc FROM {batch} WHERE is_valid <> (invalid_reason IS NULL)",
        ),
    ),
    EXPOSURE_VALIDATION: (
        ordered("n_valid_exposures", "n_exposures"),
        ordered("assignment_time_utc", "first_valid_exposure_utc"),
        ordered("first_exposure_utc", "first_valid_exposure_utc"),
        no_row(
            "exposed means a valid exposure of a validly assigned user to one variant",
            """SELECT user_id FROM {batch} WHERE (n_valid_exposures > 0 AND NOT is_valid_assignment)
            OR is_valid_exposed <> (n_valid_exposures > 0 AND NOT multi_variation_exposure)
            OR (first_valid_exposure_utc IS NULL) <> (n_valid_exposures = 0)""",
        ),
        no_row(
            "users and events count the same exposures",
            f"""SELECT n, n_valid, n_events, n_valid_events FROM
            (SELECT coalesce(sum(n_exposures), 0) AS n, coalesce(sum(n_valid_exposures), 0) AS n_valid FROM {{batch}})
            CROSS JOIN
            (SELECT count(*) AS n_events, count_if(is_valid) AS n_valid_events FROM {view_name(FACT_EXPOSURE)})
            WHERE n <> n_events OR n_valid <> n_valid_events""",  # noqa: S608  ids are checked against a pattern
            reads=[FACT_EXPOSURE],
        ),
        mostly_true("unassigned_exposure", False, 0.95, "at most 5% of the users were exposed without an assignment"),
    ),
    QUALITY_METRICS_DAILY: (
        _VARIANT,
        ordered("any_exposure", "assigned"),
        ordered("exposed", "any_exposure"),
        ordered("assigned", "canonical_assignments"),
        *_shares(("exposure_rate", *_SHARES_OF_ASSIGNED)),
        no_row(
            "days add up to all assignments",
            f"""SELECT n, n_valid, n_users, n_valid_users FROM
            (SELECT coalesce(sum(canonical_assignments), 0) AS n, coalesce(sum(assigned), 0) AS n_valid FROM {{batch}})
            CROSS JOIN
            (SELECT count(*) AS n_users, count_if(is_valid) AS n_valid_users FROM {view_name(FACT_ASSIGNMENT)})
            WHERE n <> n_users OR n_valid <> n_valid_users""",  # noqa: S608  ids are checked against a pattern
            reads=[FACT_ASSIGNMENT],
        ),
    ),
    EXPOSURE_QUALITY_DAILY: (
        in_set("check_name", [*(check.name for check in verdicts.CHECKS), outcome_volume.NAME]),
        in_set("status", _words(CheckStatus)),
        *_shares(("p_value",)),
    ),
    COHORT: (
        _VARIANT,
        in_set("exclusion_reason", EXCLUSION_REASONS),
        ordered("assignment_time_utc", "anchor_utc"),
        no_row(
            "who is included has an anchor, who is not has a reason",
            """SELECT user_id FROM {batch} WHERE included <> (exclusion_reason IS NULL)
            OR included <> (anchor_utc IS NOT NULL) OR included <> (cohort_date IS NOT NULL)""",
        ),
        no_row(
            "the cohort is exactly the assigned users, each in the assigned variant",
            f"""SELECT coalesce(c.user_id, a.user_id) AS user_id FROM {{batch}} c
            FULL JOIN {view_name(FACT_ASSIGNMENT)} a ON c.experiment_id = a.experiment_id AND c.user_id = a.user_id
            WHERE c.user_id IS NULL OR a.user_id IS NULL OR c.variant_id <> a.variant_id""",  # noqa: S608  ids are checked against a pattern
            reads=[FACT_ASSIGNMENT],
        ),
    ),
    UNIT_OUTCOMES: (
        _VARIANT,
        between("unit_bucket", low=0, high=255),
        no_row(
            "the units are exactly the included users of the cohort",
            f"""SELECT coalesce(u.user_id, c.user_id) AS user_id FROM {{batch}} u
            FULL JOIN (SELECT * FROM {view_name(COHORT)} WHERE included) c
            ON u.experiment_id = c.experiment_id AND u.user_id = c.user_id
            WHERE u.user_id IS NULL OR c.user_id IS NULL
            OR u.variant_id <> c.variant_id OR u.anchor_utc <> c.anchor_utc""",  # noqa: S608  ids are checked against a pattern
            reads=[COHORT],
        ),
    ),
    EXCLUDED_DAYS: (
        in_set("what", ["assignments", "exposures", "outcomes"]),
        between("entry", low=1),
        between("users", low=0),
        ordered("users", "of_users"),
    ),
    METRIC_STATISTICS: (
        _METRIC,
        _VARIANT,
        _SEGMENT,
        *(between(column, low=0) for column in ("n", "n_null", "n_mature", "yy", "dd", "did_n")),
        between("unit_bucket", low=-1, high=255),
    ),
    EXPOSURE_STATISTICS: (
        _METRIC,
        _VARIANT,
        in_set("segment", ["all", "exposed=yes", "exposed=no"]),
        *(between(column, low=0) for column in ("n", "n_null", "n_mature", "yy", "dd")),
    ),
    PANEL_STATISTICS: (_METRIC, _VARIANT, between("n", low=0), ordered("day_i", "day_j")),
    # Users only come; a value that appears makes n_null fall, and a value that falls makes y and yy fall.
    METRIC_SERIES: (_METRIC, _VARIANT, *(between(column, low=0) for column in ("n", "n_mature", "n_x"))),
    METRIC_AGGREGATES_OVERALL: _MOMENTS,
    METRIC_AGGREGATES_DAILY: (*_MOMENTS, in_set("date_kind", ["cohort", "calendar"])),
    ANALYSIS_RESULTS: (
        _METRIC,
        _VARIANT,
        _SEGMENT,
        in_set("method", _words(Method)),
        in_set("status", _words(ResultStatus)),
        between("alpha", low=0, high=1, strict=True),
        *_shares(("p_value", "p_value_adjusted", "p_value_rel", "anytime_p_value", "anytime_p_value_rel")),
        *_INTERVALS,
        between("control_sd", low=0),
        between("treatment_sd", low=0),
    ),
    PRETREND_DELTA: (_METRIC, _VARIANT, between("relative_day", high=-1), ordered("ci_low", "ci_high")),
    PRETREND_TESTS: (
        _METRIC,
        _VARIANT,
        in_set("verdict", _words(PretrendVerdict)),
        *_shares(("p_value", "p_value_adjusted")),
    ),
    STATISTICAL_VALIDATION: (
        in_set("status", _words(CheckStatus)),
        *_shares(("p_value",)),
    ),
    GUARDRAIL_STATUS: (
        _METRIC,
        _VARIANT,
        in_set("status", _words(GuardrailStatus)),
        between("margin", low=0, strict=True),
        *_shares(("p_value", "p_value_adjusted")),
    ),
    DECISION: (
        has_rows(),
        in_set("variant_id", parameter("variants_and_all")),
        in_set("trust", _words(Trust)),
        in_set("decision", _words(Decision)),
    ),
    LATEST_RESULTS: (
        _METRIC,
        _VARIANT,
        in_set("role", ["primary", "secondary", "guardrail"]),
        in_set("trust", _words(Trust)),
        in_set("decision", _words(Decision)),
        in_set("method", _words(Method)),
        in_set("status", _words(ResultStatus)),
        in_set("interval_in_force", ["anytime", "fixed"]),
        in_set("decision_scale", ["absolute", "relative"]),
        between("alpha", low=0, high=1, strict=True),
        *_shares(("p_value", "p_value_adjusted", "p_value_rel", "p_value_in_force")),
        *_INTERVALS,
        ordered("ci_low", "ci_high"),
    ),
}
