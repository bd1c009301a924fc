"""Every table of the lake: columns, grain, layout and writing engine. The single declaration that all else follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exp_platform.schemas import contract_columns, required_columns

Engine = Literal["spark", "pyiceberg"]

# Columns that tell of the run, not of the answer: they may differ between two runs that agree.
RUN_COLUMNS = frozenset(
    {"run_id", "input_snapshots", "code_version", "computed_at", "ingested_at", "source_file", "updated_at"}
)


@dataclass(frozen=True)
class Table:
    """One Iceberg table: column -> type (`!` behind it: never null), grain, partition fields and sort order."""

    name: str
    doc: str
    grain: tuple[str, ...]
    columns: dict[str, str]
    engine: Engine
    partition: tuple[str, ...] = ("experiment_id",)
    sort: tuple[str, ...] = ()

    @property
    def has_dt(self) -> bool:
        """Whether a run replaces one dt of its experiment, or the whole experiment."""
        return "dt" in self.grain

    @property
    def shows_latest_dt(self) -> bool:
        """Whether it holds only the experiment's latest dt, so that a run with an older dt must not replace it."""
        return not self.has_dt and self.name.startswith(("silver.fact", "silver.int", "gold.", "exp.metric_aggregates"))

    @property
    def types(self) -> dict[str, str]:
        """Column -> Iceberg type."""
        return {column: kind.removesuffix("!") for column, kind in self.columns.items()}

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that are never null."""
        return tuple(column for column, kind in self.columns.items() if kind.endswith("!"))

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """Columns that agree byte for byte between reruns."""
        return tuple(column for column in self.columns if column not in RUN_COLUMNS)


UNITS = ("experiment_id", "bucket(4, user_id)")
BY_DT = ("experiment_id", "dt")


def bucket_of(partition_field: str) -> tuple[int, str] | None:
    """Number of buckets and column of a declared `bucket(n, column)`; None for a column as it is."""
    if not partition_field.startswith("bucket("):
        return None
    count, column = partition_field.removeprefix("bucket(").rstrip(")").split(",")
    return int(count), column.strip()


def dates_of(table: Table) -> tuple[str, ...]:
    """The dates by which a table's files lie, besides that of the run."""
    return tuple(column for column in table.partition if table.types.get(column) == "date" and column != "dt")


_FLAGS = (
    "pre_assignment_exposure",
    "variant_mismatch",
    "multi_variation_exposure",
    "exposure_outside_window",
    "unassigned_exposure",
)
QUALITY_FLAGS = (*_FLAGS, "conflicted_assignment")


def _contract(dataset: str) -> dict[str, str]:
    required = set(required_columns(dataset))
    return {c: f"{t}!" if c in required else t for c, t in contract_columns(dataset).items()}


def _columns(text: str) -> dict[str, str]:
    """`name type[!]` pairs, one or more a line, separated by commas outside <>."""
    pairs: dict[str, str] = {}
    depth, word = 0, ""
    for char in text.replace("\n", ",") + ",":
        depth += (char == "<") - (char == ">")
        if char == "," and depth == 0:
            if word.strip():
                name, kind = word.split(maxsplit=1)
                pairs[name] = kind.replace(" ", "").strip()
            word = ""
        else:
            word += char
    return pairs


def _events(dataset: str, doc: str) -> Table:
    columns = _contract(dataset) | {"source_file": "string!", "ingested_at": "timestamptz!"}
    grain = tuple(_contract(dataset))
    return Table(f"exp.{dataset}", doc, grain, columns, "spark", UNITS, ("user_id",))


_MOMENTS = """
n long!, n_null long!, sum double, sum_squares double
covariate_sum double, covariate_sum_squares double, covariate_cross_product double
denominator_sum double, denominator_sum_squares double, denominator_cross_product double
"""

_ALL = (
    Table(
        "exp.experiment_registry",
        "What each team has configured, as it was at the latest run.",
        ("experiment_id",),
        _contract("experiment_registry"),
        "pyiceberg",
    ),
    _events("assignments", "Every distinct valid assignment event of the raw files now present."),
    _events("exposures", "Every distinct valid exposure event of the raw files now present."),
    _events("outcomes", "Every distinct valid outcome event of the raw files now present."),
    _events("attributes", "Every distinct valid attribute event of the raw files now present."),
    Table(
        "silver.dim_experiment",
        "Governance view of the registry.",
        ("experiment_id",),
        _columns("""experiment_id string!, name string!, owner string!, hypothesis string!, unit string!, status string!
        design string!, start_ts timestamptz!, end_ts timestamptz!, analysis_mode string!, assignment_source string!
        primary_metric string, config_hash string!, updated_at timestamptz!"""),
        "pyiceberg",
    ),
    Table(
        "silver.dim_experiment_variant",
        "The arms of each experiment; expected_allocation sums to 1.",
        ("experiment_id", "variant_id"),
        _columns(
            "experiment_id string!, variant_id string!, is_control boolean!, expected_allocation double!, "
            "updated_at timestamptz!"
        ),
        "pyiceberg",
    ),
    Table(
        "silver.fact_assignment_canonical",
        "J1: the one assignment of each user.",
        ("experiment_id", "user_id"),
        _columns("""experiment_id string!, user_id string!, variant_id string!, assignment_time_utc timestamptz!
        n_assignment_events long!, n_variants long!, is_conflicted boolean!, is_outside_window boolean!
        is_valid boolean!"""),
        "spark",
        UNITS,
        ("user_id",),
    ),
    Table(
        "silver.fact_exposure",
        "J2: every distinct exposure event, and why it does not count if it does not.",
        ("experiment_id", "user_id", "variant_id", "exposure_time_utc", "unit"),
        _columns("""experiment_id string!, user_id string!, variant_id string!, exposure_time_utc timestamptz!
        unit string!
        is_valid boolean!, invalid_reason string"""),
        "spark",
        UNITS,
        ("user_id",),
    ),
    Table(
        "silver.int_experiment_exposure_validation",
        "J2: what the exposures of each assigned or exposed user look like.",
        ("experiment_id", "user_id"),
        _columns(
            """experiment_id string!, user_id string!, variant_id string, assignment_time_utc timestamptz
        n_exposures long!, n_valid_exposures long!, first_exposure_utc timestamptz, first_exposure_variant_id string
        first_valid_exposure_utc timestamptz, is_valid_assignment boolean!
        """
            + ", ".join(f"{flag} boolean!" for flag in _FLAGS)
            + ", is_valid_exposed boolean!"
        ),
        "spark",
        UNITS,
        ("user_id",),
    ),
    Table(
        "gold.fct_experiment_quality_metrics_daily",
        "J2: daily measures of assignment and exposure quality, by assignment date.",
        ("experiment_id", "variant_id", "date"),
        _columns(
            """experiment_id string!, variant_id string!, date date!, assigned long!, exposed long!, any_exposure long!
        exposure_rate double, canonical_assignments long!
        """
            + ", ".join(f"{flag}_count long!, {flag}_rate double" for flag in QUALITY_FLAGS)
            + """, judged_multi_variation_exposure long!, judged_variant_mismatch long!
            judged_pre_assignment_exposure long!
        judged_exposure_outside_window long!"""
        ),
        "spark",
    ),
    Table(
        "gold.fct_experiment_exposure_quality_daily",
        "J2: the verdict on each daily measure.",
        ("experiment_id", "date", "check_name"),
        _columns("""experiment_id string!, date date!, check_name string!, observed double, expected double
        threshold double
        p_value double, status string!, detail string!"""),
        "pyiceberg",
    ),
    Table(
        "gold.fct_experiment_cohort",
        "J4: every user with a canonical assignment, included or not and why.",
        ("experiment_id", "user_id"),
        _columns("""experiment_id string!, user_id string!, variant_id string!, assignment_time_utc timestamptz!
        anchor_utc timestamptz, cohort_date date, included boolean!, exclusion_reason string
        dimensions map<string,string>!"""),
        "spark",
        UNITS,
        ("user_id",),
    ),
    Table(
        "gold.fct_experiment_unit_outcomes",
        "J4: the metrics of every included user, uncapped.",
        ("experiment_id", "user_id"),
        _columns("""experiment_id string!, user_id string!, variant_id string!, anchor_utc timestamptz!
        cohort_date date!
        unit_bucket int!, metrics map<string,double>!, covariates map<string,double>!, did_pre map<string,double>!
        mature map<string,boolean>!, event_counts map<string,long>, dimensions map<string,string>!"""),
        "spark",
        (*UNITS, "cohort_date"),  # a day leaves the files of the dates that it does not touch
        ("user_id",),
    ),
    Table(
        "gold.fct_experiment_metric_statistics",
        "J5: mergeable sums; two grouping sets: (segment, cohort_date, bucket -1) and (all, null, bucket 0 to 255).",
        ("experiment_id", "metric_name", "variant_id", "segment", "cohort_date", "unit_bucket"),
        _columns("""experiment_id string!, metric_name string!, metric_version int!, variant_id string!, segment string!
        cohort_date date, unit_bucket int!, n long!, n_null long!, n_mature long!, y double!, yy double!, yyy double!
        covariates list<string>!, x list<double>!, xx list<double>!, xy list<double>!
        d double!, dd double!, yd double!, dx list<double>!
        did_n long!, did_v list<double>!, did_vv list<double>!, histogram map<int,long>, histogram_lows list<double>
        histogram_highs list<double>, cap double, cap_denominator double"""),
        "pyiceberg",
    ),
    Table(
        "gold.fct_experiment_panel_statistics",
        "J5: cross products of a unit's daily values before assignment, and cluster sums on rows of a day with itself.",
        ("experiment_id", "metric_name", "variant_id", "cohort_date", "day_i", "day_j"),
        _columns("""experiment_id string!, metric_name string!, variant_id string!, cohort_date date!, day_i int!
        day_j int!
        n long!, sum_i double!, sum_j double!, sum_ij double!, cluster_units map<string,long>
        cluster_sums map<string,double>"""),
        "pyiceberg",
    ),
    Table(
        "gold.fct_experiment_statistical_validation",
        "J7: SRM, power and sanity checks.",
        ("experiment_id", "check_name", "metric_name", "variant_id", "segment", "dt"),
        _columns("""experiment_id string!, dt date!, check_name string!, metric_name string!, variant_id string!
        segment string!
        statistic double, p_value double, observed double, expected double, threshold double, status string!
        detail string!
        run_id string!, input_snapshots string!, code_version string!, computed_at timestamptz!"""),
        "pyiceberg",
        BY_DT,
    ),
    Table(
        "gold.fct_experiment_guardrail_status",
        "J8: is each guardrail held, failed, or not yet known?",
        ("experiment_id", "metric_name", "variant_id", "dt"),
        _columns("""experiment_id string!, dt date!, metric_name string!, variant_id string!, effect_rel double
        harm double
        harm_low double, bound double, margin double!, p_value double, p_value_adjusted double, method string!
        status string!, reason string!, run_id string!, input_snapshots string!, code_version string!
        computed_at timestamptz!"""),
        "pyiceberg",
        BY_DT,
    ),
    Table(
        "gold.fct_experiment_decision",
        "J8: can the result be trusted, and what should be done? One row per arm and one for all.",
        ("experiment_id", "variant_id", "dt"),
        _columns("""experiment_id string!, dt date!, variant_id string!, trust string!, decision string!
        reasons list<string>!
        policy string!, planned_end timestamptz, interval_in_force string!, run_id string!, input_snapshots string!
        config_hash string!, code_version string!, computed_at timestamptz!"""),
        "pyiceberg",
        BY_DT,
    ),
    Table(
        "exp.metric_aggregates_overall",
        "Roll-up of the sufficient statistics over cohort dates.",
        ("experiment_id", "metric_name", "variant_id", "segment"),
        _columns("experiment_id string!, metric_name string!, variant_id string!, segment string!" + _MOMENTS),
        "pyiceberg",
    ),
    Table(
        "exp.metric_aggregates_daily",
        "The same by cohort date, and by calendar date for metrics that add up over days.",
        ("experiment_id", "metric_name", "variant_id", "segment", "date_kind", "date"),
        _columns(
            "experiment_id string!, metric_name string!, variant_id string!, segment string!, date_kind string!, "
            "date date!" + _MOMENTS
        ),
        "pyiceberg",
    ),
    Table(
        "exp.analysis_results",
        "J6: the effect of each arm on each metric, by each method.",
        ("experiment_id", "dt", "metric_name", "method", "variant_id", "segment"),
        _columns("""experiment_id string!, dt date!, metric_name string!, metric_version int!, method string!
        variant_id string!
        segment string!, control_n long, control_mean double, control_sd double, treatment_n long, treatment_mean double
        treatment_sd double, effect_abs double, effect_abs_ci_low double, effect_abs_ci_high double, effect_rel double
        effect_rel_ci_low double, effect_rel_ci_high double, p_value double, p_value_adjusted double, p_value_rel double
        anytime_ci_low double, anytime_ci_high double, anytime_rel_ci_low double, anytime_rel_ci_high double
        anytime_p_value double, anytime_p_value_rel double, heterogeneity_p_value double, alpha double!
        variance_reduction double, mde double, status string!, reason string!, is_deciding boolean!
        run_id string!, input_snapshots string!, config_hash string!, code_version string!
        computed_at timestamptz!"""),
        "pyiceberg",
        BY_DT,
    ),
    Table(
        "exp.did_pretrend_delta",
        "Event study before assignment: difference between the arms on each relative day.",
        ("experiment_id", "dt", "metric_name", "variant_id", "relative_day"),
        _columns("""experiment_id string!, dt date!, metric_name string!, variant_id string!, relative_day int!
        control_mean double, treatment_mean double, delta double, ci_low double, ci_high double
        run_id string!, computed_at timestamptz!"""),
        "pyiceberg",
        BY_DT,
    ),
    Table(
        "exp.did_pretrend_tests",
        "Do the arms run in parallel before assignment?",
        ("experiment_id", "dt", "metric_name", "variant_id", "test"),
        _columns("""experiment_id string!, dt date!, metric_name string!, variant_id string!, test string!
        statistic double, df double, df_denominator double, p_value double, p_value_adjusted double, verdict string!
        reason string!
        run_id string!, computed_at timestamptz!"""),
        "pyiceberg",
        BY_DT,
    ),
    Table(
        "ops.run_claim",
        "The run that may publish for each experiment.",
        ("experiment_id",),
        _columns(
            "experiment_id string!, run_id string!, dt date!, attempt int!, claimed_at timestamptz!"
            ", released_at timestamptz, started_by string!"
        ),
        "pyiceberg",
    ),
    Table(
        "ops.run_manifest",
        "The snapshot that each stage of each run read and published.",
        ("experiment_id", "run_id", "stage", "table", "role"),
        _columns("""experiment_id string!, run_id string!, dt date!, stage string!, table string!, role string!
        snapshot_id long
        rows long, seconds double, status string!, error string, config_hash string!, code_version string!
        at timestamptz!"""),
        "pyiceberg",
    ),
    Table(
        "ops.contract_results",
        "The outcome of every expectation on every table that a run wrote.",
        ("experiment_id", "run_id", "table", "expectation"),
        _columns("""experiment_id string!, run_id string!, dt date!, stage string!, table string!, expectation string!
        success boolean!, severity string!, unexpected_count long, unexpected_percent double, sample list<string>!
        detail string!, at timestamptz!"""),
        "pyiceberg",
    ),
    Table(
        "ops.quarantine",
        "Every row that was refused, and the rule that it broke.",
        ("experiment_id", "dataset", "source_file", "row_hash", "rule"),
        _columns("""experiment_id string!, dataset string!, source_file string!, row_hash string!, rule string!
        row string!
        first_run_id string!, first_seen_at timestamptz!, count long!"""),
        "spark",
    ),
    Table(
        "ops.ingested_files",
        "Every raw file that has been read.",
        ("experiment_id", "dataset", "path"),
        _columns("""experiment_id string!, dataset string!, path string!, size long!, fingerprint string!, rows long!
        refused long!, run_id string!, ingested_at timestamptz!"""),
        "pyiceberg",
    ),
    Table(
        "ops.alerts",
        "Every alert, sent or not.",
        ("experiment_id", "dt", "kind", "subject", "verdict_hash"),
        _columns("""experiment_id string!, dt date!, kind string!, subject string!, verdict_hash string!, state string!
        attempts int!, payload string!, last_error string, run_id string!, at timestamptz!"""),
        "pyiceberg",
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}
NAMESPACES = ("exp", "silver", "gold", "ops")
