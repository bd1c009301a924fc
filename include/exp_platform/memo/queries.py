"""For each check the query that looks closer; Spark reads it as it is, DuckDB where the tables have these names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exp_platform.lake.tables import names as tables


@dataclass(frozen=True)
class Subject:
    """The experiment, the day and the metric that a query asks about; a segment is written `dimension=value`."""

    experiment_id: str
    dt: str
    metric: str = "all"
    sources: tuple[str, ...] = ()  # metric_name of the outcome events that the metric reads
    segment: str = "all"
    streams: Mapping[str, tuple[str, ...]] | None = None  # dataset -> the streams that it is read from
    run_id: str = ""

    @property
    def mine(self) -> str:
        """The condition for the experiment's rows."""
        return f"experiment_id = {text(self.experiment_id)}"


def text(value: object) -> str:
    """A literal of SQL; control characters would break its line and are left out.

    >>> text("O'Hara")
    "'O''Hara'"
    """
    plain = "".join(c for c in str(value) if c.isprintable())
    return "'" + plain.replace("\\", "").replace("'", "''") + "'"


def query_of(check_name: str, subject: Subject) -> str:
    """The query that looks closer at a check's finding; of an unknown check its rows of every day."""
    return QUERIES.get(check_name, _rows_of(check_name))(subject)


def quarantined(subject: Subject) -> str:
    """The refused rows by dataset, rule and file."""
    return (
        f"SELECT dataset, rule, source_file, sum(count) AS refused FROM iceberg.{tables.QUARANTINE} "
        f"WHERE {subject.mine} GROUP BY dataset, rule, source_file ORDER BY refused DESC"
    )


def broken_rules(subject: Subject) -> str:
    """The expectations that a run found broken, with examples."""
    return (
        "SELECT stage, expectation, severity, unexpected_count, sample, detail "
        f"FROM iceberg.{tables.CONTRACT_RESULTS} "
        f"WHERE {subject.mine} AND run_id = {text(subject.run_id)} AND NOT success"
    )


def second_opinions(subject: Subject) -> str:
    """The numbers that a second implementation could not confirm."""
    return (
        f"SELECT dt, run_id, metric_name, variant_id, compared, differ, detail FROM iceberg.{tables.SECOND_OPINIONS} "
        f"WHERE {subject.mine} AND differ > 0 ORDER BY dt, metric_name, variant_id"
    )


def _assigned(s: Subject) -> str:
    return (
        f"SELECT cast(assignment_time_utc AS date) AS day, variant_id, count(*) AS users "
        f"FROM iceberg.{tables.FACT_ASSIGNMENT} WHERE {s.mine} AND is_valid "
        "GROUP BY cast(assignment_time_utc AS date), variant_id ORDER BY day, variant_id"
    )


def _segments(s: Subject) -> str:
    dimension = s.segment.partition("=")[0]
    if dimension in ("all", "date"):
        return _assigned(s)
    value = f"dimensions[{text(dimension)}]"
    return (
        f"SELECT {value} AS segment, variant_id, count(*) AS users, "
        f"sum(CASE WHEN included THEN 1 ELSE 0 END) AS analysed FROM iceberg.{tables.COHORT} WHERE {s.mine} "
        f"GROUP BY {value}, variant_id ORDER BY segment, variant_id"
    )


def _analysed(s: Subject) -> str:
    return (
        f"SELECT variant_id, exclusion_reason, count(*) AS users FROM iceberg.{tables.COHORT} WHERE {s.mine} "
        "GROUP BY variant_id, exclusion_reason ORDER BY variant_id, users DESC"
    )


def _daily(columns: str) -> Callable[[Subject], str]:
    return lambda s: (
        f"SELECT date, variant_id, {columns} FROM iceberg.{tables.QUALITY_METRICS_DAILY} WHERE {s.mine} "
        "ORDER BY date, variant_id"
    )


def _before_assignment(s: Subject) -> str:
    """Users by the hours between their first exposure and their assignment."""
    early = "assignment_time_utc - first_exposure_utc"
    hours = f"extract(DAY FROM {early}) * 24 + extract(HOUR FROM {early})"
    return (
        f"SELECT {hours} AS hours_before, count(*) AS users FROM iceberg.{tables.EXPOSURE_VALIDATION} "
        f"WHERE {s.mine} AND pre_assignment_exposure GROUP BY {hours} ORDER BY hours_before"
    )


def _flagged(flag: str) -> Callable[[Subject], str]:
    day = "cast(assignment_time_utc AS date)"
    return lambda s: (
        f"SELECT {day} AS day, variant_id AS assigned, first_exposure_variant_id AS saw_first, count(*) AS users "
        f"FROM iceberg.{tables.EXPOSURE_VALIDATION} WHERE {s.mine} AND {flag} "
        f"GROUP BY {day}, variant_id, first_exposure_variant_id ORDER BY day, users DESC"
    )


def _late(s: Subject) -> str:
    day = "cast(exposure_time_utc AS date)"
    return (
        f"SELECT {day} AS day, invalid_reason, count(*) AS exposures FROM iceberg.{tables.FACT_EXPOSURE} "
        f"WHERE {s.mine} AND invalid_reason IN ('outside_experiment', 'outside_exposure_window') "
        f"GROUP BY {day}, invalid_reason ORDER BY day"
    )


def _conflicted(s: Subject) -> str:
    day = "cast(assignment_time_utc AS date)"
    return (
        f"SELECT {day} AS day, n_variants, count(*) AS users FROM iceberg.{tables.FACT_ASSIGNMENT} "
        f"WHERE {s.mine} AND is_conflicted GROUP BY {day}, n_variants ORDER BY day"
    )


def _outcomes(s: Subject) -> str:
    streams = (s.streams or {}).get("outcomes", ())
    table = tables.STREAM_OUTCOMES if streams else tables.OUTCOMES
    where = f"stream IN ({', '.join(text(name) for name in streams)})" if streams else s.mine
    named = f" AND metric_name IN ({', '.join(text(name) for name in s.sources)})" if s.sources else ""
    day = "cast(outcome_ts AS date)"
    return (
        f"SELECT {day} AS day, metric_name, count(*) AS events FROM iceberg.{table} WHERE {where}{named} "
        f"GROUP BY {day}, metric_name ORDER BY metric_name, day"
    )


def _all_outcomes(s: Subject) -> str:
    return _outcomes(Subject(s.experiment_id, s.dt, streams=s.streams))


def _largest(s: Subject) -> str:
    value = f"metrics[{text(s.metric)}]"
    return (
        f"SELECT user_id, variant_id, cohort_date, {value} AS value FROM iceberg.{tables.UNIT_OUTCOMES} "
        f"WHERE {s.mine} AND {value} IS NOT NULL ORDER BY {value} DESC LIMIT 50"
    )


def _covariate(s: Subject) -> str:
    value = f"covariates[{text(s.metric)}]"
    return (
        f"SELECT cohort_date, variant_id, count(*) AS users, avg({value}) AS before "
        f"FROM iceberg.{tables.UNIT_OUTCOMES} WHERE {s.mine} "
        "GROUP BY cohort_date, variant_id ORDER BY cohort_date, variant_id"
    )


def _with_value(s: Subject) -> str:
    return (
        f"SELECT cohort_date, variant_id, count(*) AS users, count(metrics[{text(s.metric)}]) AS with_value "
        f"FROM iceberg.{tables.UNIT_OUTCOMES} WHERE {s.mine} "
        "GROUP BY cohort_date, variant_id ORDER BY cohort_date, variant_id"
    )


def _by_cohort(s: Subject) -> str:
    return (
        f"SELECT cohort_date, variant_id, n AS users, y / n AS mean FROM iceberg.{tables.METRIC_STATISTICS} "
        f"WHERE {s.mine} AND metric_name = {text(s.metric)} AND segment = 'all' AND unit_bucket = -1 AND n > 0 "
        "ORDER BY cohort_date, variant_id"
    )


def _by_exposure(s: Subject) -> str:
    return (
        f"SELECT variant_id, segment, sum(n) AS users, sum(y) / sum(n) AS mean "
        f"FROM iceberg.{tables.EXPOSURE_STATISTICS} WHERE {s.mine} AND metric_name = {text(s.metric)} AND n > 0 "
        "GROUP BY variant_id, segment ORDER BY segment, variant_id"
    )


def _before(s: Subject) -> str:
    return (
        f"SELECT variant_id, relative_day, delta, ci_low, ci_high FROM iceberg.{tables.PRETREND_DELTA} "
        f"WHERE {s.mine} AND dt = DATE {text(s.dt)} AND metric_name = {text(s.metric)} "
        "ORDER BY variant_id, relative_day"
    )


def _repeated(s: Subject) -> str:
    return (
        "SELECT run_id, stage, unexpected_count AS repeated, unexpected_percent, detail "
        f"FROM iceberg.{tables.CONTRACT_RESULTS} WHERE {s.mine} AND expectation = 'exact duplicates count once'"
    )


def _rows_of(check_name: str) -> Callable[[Subject], str]:
    return lambda s: (
        "SELECT dt, metric_name, variant_id, segment, status, observed, expected, p_value, detail "
        f"FROM iceberg.{tables.STATISTICAL_VALIDATION} WHERE {s.mine} AND check_name = {text(check_name)} ORDER BY dt"
    )


QUERIES: dict[str, Callable[[Subject], str]] = {
    **dict.fromkeys(("srm_assigned", "srm_fixed_assigned", "srm_by_day", "srm_by_segment"), _segments),
    **dict.fromkeys(("srm_analysed", "srm_fixed_analysed"), _analysed),
    "exposure_logging": _daily("assigned, any_exposure, any_exposure / assigned AS share"),
    "pre_assignment_exposure": _before_assignment,
    "variant_mismatch": _flagged("variant_mismatch"),
    "multi_variation_exposure": _flagged("multi_variation_exposure"),
    "exposure_outside_window": _late,
    "conflicted_assignment": _conflicted,
    "outcome_volume": _outcomes,
    "source_absent": _all_outcomes,
    **dict.fromkeys(("skewness", "outliers", "cap"), _largest),
    "twyman": _by_cohort,
    "novelty": _by_cohort,
    "aa_pre_period": _covariate,
    "pretrends": _before,
    "share_with_value": _with_value,
    "exposure_agreement": _by_exposure,
    "duplicate_events": _repeated,
}
