"""gold: quality, cohort, metrics of each user and their sums, checks and decisions (J2, J4, J5, J7, J8)."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import BY_DT, UNITS, declare

_FLAGS = {
    "pre_assignment_exposure": "exposed before their assignment",
    "variant_mismatch": "exposed to another arm than the assigned one",
    "multi_variation_exposure": "exposed to more than one arm",
    "exposure_outside_window": "exposed outside the experiment or the exposure window",
    "unassigned_exposure": "exposed without a valid assignment, by the date and arm of their first exposure",
    "conflicted_assignment": "assigned to more than one arm",
}
QUALITY_FLAGS = tuple(_FLAGS)


def _flag_columns() -> str:
    bases = dict.fromkeys(_FLAGS, "the validly assigned") | {"conflicted_assignment": "all canonical assignments"}
    lines = [
        f"{flag}_count long! Users {what}.\n{flag}_rate double These as a fraction of {bases[flag]}; null without any."
        for flag, what in _FLAGS.items()
    ]
    return "\n".join(lines)


_SUMS = """
    n                long!           Users with a value that counts.
    n_null           long!           Included users without one.
    n_mature         long!           Included users whose window has closed by the end of dt.
    y                double!         Sum of the values after the cap, in the metric's unit; of a ratio numerators.
    yy               double!         Sum of their squares.
    yyy              double!         Sum of their cubes.
    covariates       list<string>!   Names of the covariates: pre, or pre_numerator and pre_denominator; then those
    |                                that the contract names, with `.missing` (1 without a value, else 0) after
    |                                one that users may not have.
    x                list<double>!   Sum of each covariate after the cap; a missing one counts as the pooled mean of
    |                                pre, and as 0 of a covariate that the contract names.
    xx               list<double>!   Sums of products of the covariates, a square matrix row by row.
    xy               list<double>!   Sum of each covariate times the value.
    d                double!         Sum of a ratio's denominators after the cap; 0 for other metrics.
    dd               double!         Sum of their squares.
    yd               double!         Sum of numerator times denominator.
    dx               list<double>!   Sum of each covariate times the denominator.
    with_denominator long            Of a ratio: users whose denominator is not 0; null for other metrics.
    did_n            long!           Users in difference in differences.
    did_v            list<double>!   Their sums: value and pre-period; of a ratio both, each with its denominator.
    did_vv           list<double>!   Sums of products of these, a square matrix row by row.
    rest             list<double>    What rounding took from each sum, in the order of the columns y to did_vv, so that
    |                                sums of rows can be exact; null in the rows by bucket.
    histogram        map<int,long>   Of a quantile: logarithmic bin to the number of values in it.
    histogram_lows   list<double>    The smallest value of each bin, in order of the bins.
    histogram_highs  list<double>    The largest value of each bin, in order of the bins.
    cap              double          The cap that was applied to the value, in the metric's unit; null without one.
    cap_denominator  double          The cap that was applied to a ratio's denominator.
"""

_QUALITY = (
    declare(
        names.QUALITY_METRICS_DAILY,
        "J2: daily measures of assignment and exposure quality, by assignment date.",
        ("experiment_id", "variant_id", "date"),
        f"""
        experiment_id          string!
        variant_id             string!
        date                   date!    UTC date of the assignment.
        assigned               long!    Validly assigned users.
        exposed                long!    Those of them with a valid exposure and without several arms.
        any_exposure           long!    Those of them with any exposure event, valid or not.
        exposure_rate          double   exposed / assigned, a fraction; null where nobody was assigned.
        canonical_assignments  long!    Users with an assignment, valid or not.
        {_flag_columns()}
        judged_multi_variation_exposure  long!  Users that the verdicts count as exposed to several arms.
        judged_variant_mismatch          long!  Users that the verdicts count as exposed to another arm.
        judged_pre_assignment_exposure   long!  Users that the verdicts count as exposed before their assignment.
        judged_exposure_outside_window   long!  Users that the verdicts count as exposed outside the window only.
        """,
        engine="spark",
        shows_latest_dt=True,
    ),
    declare(
        names.EXPOSURE_QUALITY_DAILY,
        "J2: the verdict on each daily measure.",
        ("experiment_id", "date", "check_name"),
        """
        experiment_id  string!
        date           date!    UTC date of the assignment; for outcome_volume the calendar day of the events.
        check_name     string!  The check, for example exposure_logging.
        observed       double   The day's rate, a fraction; for outcome_volume a number of events.
        expected       double   The rate of the other dates or arms that it is compared with; null without any.
        threshold      double   The rate beyond which a change matters.
        p_value        double   One-sided p, adjusted for the dates that were looked at.
        status         string!  ok, warn or fail.
        detail         string!  The verdict as a sentence.
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
)

_SPINE = (
    declare(
        names.COHORT,
        "J4: every user with a canonical assignment, included or not and why.",
        ("experiment_id", "user_id"),
        """
        experiment_id        string!
        user_id              string!
        variant_id           string!       The arm that the user was assigned to.
        assignment_time_utc  timestamptz!
        anchor_utc           timestamptz   Where the user's windows begin: the assignment (itt) or the first valid
        |                                  exposure (exposed); null for a user who is not included.
        cohort_date          date          UTC date of the anchor; null for a user who is not included.
        included             boolean!      True for a user who is analysed.
        exclusion_reason     string        The first that applies: conflicted_assignment, assignment_outside_window,
        |                                  excluded_date, multi_variation_exposure, not_exposed; null for a user
        |                                  who is included.
        dimensions           map<string,string>!
        """,
        engine="spark",
        shows_latest_dt=True,
        partition=UNITS,
        sort=("user_id",),
    ),
    declare(
        names.UNIT_OUTCOMES,
        "J4: the metrics of every included user, uncapped.",
        ("experiment_id", "user_id"),
        """
        experiment_id  string!
        user_id        string!
        variant_id     string!               The arm that the user was assigned to.
        anchor_utc     timestamptz!
        cohort_date    date!
        unit_bucket    int!                  0 to 255, by a hash of experiment and user.
        metrics        map<string,double>!   Metric to the user's value in its unit; a ratio has `.numerator` and
        |                                    `.denominator`; null where there is none.
        covariates     map<string,double>!   Metric to the value of the days before the assignment (CUPED); also of
        |                                    metrics that are only named as covariates.
        did_pre        map<string,double>!   Metric to the value just before the assignment, of a window as long.
        mature         map<string,boolean>!  Metric to true where the user's window has closed by the end of dt.
        event_counts   map<string,long>      Event-level quantile to the user's number of events in its window.
        dimensions     map<string,string>!
        """,
        engine="spark",
        shows_latest_dt=True,
        partition=(*UNITS, "cohort_date"),  # a day leaves the files of the dates that it does not touch
        sort=("user_id",),
    ),
    declare(
        names.METRIC_STATISTICS,
        "J5: mergeable sums; two grouping sets: (segment, cohort_date, bucket -1) and (all, null, bucket 0 to 255).",
        ("experiment_id", "metric_name", "variant_id", "segment", "cohort_date", "unit_bucket"),
        f"""
        experiment_id    string!
        metric_name      string!
        metric_version   int!
        variant_id       string!
        segment          string!
        cohort_date      date            UTC date of the anchor; null in the rows by bucket.
        unit_bucket      int!            0 to 255 in the rows by bucket, else -1.
        {_SUMS}
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
    declare(
        names.EXPOSURE_STATISTICS,
        "J5: sums of all validly assigned users, and of the exposed and the other ones, from the assignment on.",
        ("experiment_id", "metric_name", "variant_id", "segment", "cohort_date"),
        f"""
        experiment_id    string!
        metric_name      string!
        metric_version   int!
        variant_id       string!
        segment          string!         all, exposed=yes (a valid exposure, in one arm alone) or exposed=no.
        cohort_date      date            UTC date of the assignment; null for an arm without users.
        unit_bucket      int!            -1: there are no rows by bucket.
        {_SUMS}
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
    declare(
        names.METRIC_SERIES,
        "J5: what each day changes of the sums of users' running values; the days up to one add up to its statistics.",
        ("experiment_id", "metric_name", "variant_id", "as_of"),
        """
        experiment_id     string!
        metric_name       string!
        metric_version    int!
        variant_id        string!
        as_of             date!          The UTC day; a running value is made of the events before its end.
        n                 long!          Users with a value that counts: those who came less those who left.
        n_null            long!          Included users without one.
        n_mature          long!          Included users whose window has closed.
        n_x               long!          Users with a value and with the metric's own covariate.
        with_denominator  long           Of a ratio: users whose denominator is not 0; null for other metrics.
        y                 double!        Change of the sum of the running values after the cap, in the metric's unit; of
        |                                a ratio numerators.
        yy                double!        Change of the sum of their squares.
        yyy               double!        Change of the sum of their cubes.
        covariates        list<string>!  Names of the covariates, as in the statistics.
        x                 list<double>!  Change of the sum of each covariate after the cap; a missing one counts as 0.
        xx                list<double>!  Changes of the sums of products of the covariates, a square matrix row by row.
        xy                list<double>!  Change of the sum of each covariate times the value.
        without_x         list<double>!  Changes of sums over the users whose own covariate is missing: the value, then
        |                                each covariate that the contract names; empty for a ratio.
        d                 double!        Change of the sum of a ratio's denominators; 0 for other metrics.
        dd                double!        Change of the sum of their squares.
        yd                double!        Change of the sum of numerator times denominator.
        dx                list<double>!  Change of the sum of each covariate times the denominator.
        rest              list<double>!  What rounding took from y, yy, yyy, d, dd, yd, x, xx, xy, dx and without_x, two
        |                                numbers for each, so that days add up exactly.
        cap               double         The cap of the value on all days, in the metric's unit; null without one.
        cap_denominator   double         The cap of a ratio's denominator.
        differs           list<string>!  Why the sum of days may differ from what a run of that day published:
        |                                quantile_cap (each run had the cap of its day), values_of_2_32_or_more.
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
    declare(
        names.PANEL_STATISTICS,
        "J5: cross products of a user's daily values before assignment, and cluster sums on rows of a day with itself.",
        ("experiment_id", "metric_name", "variant_id", "cohort_date", "day_i", "day_j"),
        """
        experiment_id  string!
        metric_name    string!
        variant_id     string!
        cohort_date    date!
        day_i          int!     Day relative to the assignment, negative: -1 is the last 24 hours before.
        day_j          int!     Another such day, at or after day_i.
        n              long!    Included users, with or without an event.
        sum_i          double!  Sum of their values on day_i, in the metric's unit.
        sum_j          double!  Sum of their values on day_j.
        sum_ij         double!  Sum of the products of both.
        cluster_units  map<string,long>    Of a clustered rollout, on rows of one day: users by cluster.
        cluster_sums   map<string,double>  Of a clustered rollout, on rows of one day: its sum by cluster.
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
)

_VERDICTS = (
    declare(
        names.STATISTICAL_VALIDATION,
        "J7: SRM, power and sanity checks.",
        ("experiment_id", "check_name", "metric_name", "variant_id", "segment", "dt"),
        """
        experiment_id    string!
        dt               date!
        check_name       string!  The check, for example srm_assigned.
        metric_name      string!  The metric that was checked, or `all`.
        variant_id       string!  The arm that was checked, or `all`.
        segment          string!  `all`, `dimension=value`, or `date=YYYY-MM-DD` in srm_by_day.
        statistic        double   The test's statistic; its meaning is the check's.
        p_value          double   The p that the check looks at, adjusted where it says so.
        observed         double   The number that was found.
        expected         double   The number that it is compared with.
        threshold        double   The number beyond which the check speaks up.
        status           string!  ok, warn or fail.
        detail           string!  The verdict as a sentence.
        run_id           string!
        input_snapshots  string!
        code_version     string!
        computed_at      timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=BY_DT,
    ),
    declare(
        names.GUARDRAIL_STATUS,
        "J8: is each guardrail held, failed, or not yet known?",
        ("experiment_id", "metric_name", "variant_id", "dt"),
        """
        experiment_id     string!
        dt                date!
        metric_name       string!
        variant_id        string!
        effect_rel        double   Relative effect on the metric, a fraction (0.02 is +2%).
        harm              double   That change in the bad direction, a fraction.
        harm_low          double   Lower end of harm's interval by the interval in force.
        bound             double   Upper end of it; the guardrail passes where it is below the margin.
        margin            double!  Harm that is allowed: max_relative_harm or max_absolute_harm of the registry.
        margin_kind       string!  relative; or absolute: harm, bound and margin are then in the metric's unit.
        p_value           double   One-sided p of harm above 0.
        p_value_adjusted  double   That p after Holm over all guardrails and arms.
        method            string!  The deciding method: ab, cuped or did.
        status            string!  pass, fail or inconclusive.
        reason            string!  Why, in one word or several.
        run_id            string!
        input_snapshots   string!
        code_version      string!
        computed_at       timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=BY_DT,
    ),
    declare(
        names.DECISION,
        "J8: can the result be trusted, and what should be done? One row per arm and one for all.",
        ("experiment_id", "variant_id", "dt"),
        """
        experiment_id      string!
        dt                 date!
        variant_id         string!  The treatment arm, or `all` for the row that sums them up.
        trust              string!  trusted, caution or not_trusted.
        decision           string!  invalid, stop, insufficient_data, ship, do_not_ship, keep_running or inconclusive.
        reasons            list<string>!  Why, in order; `word:subject` where a metric, check or arm is meant.
        policy             string!  Name, version and fingerprint of the decision policy.
        planned_end        timestamptz  From here on no new data can enter: end_ts plus the primary metric's window.
        interval_in_force  string!  anytime before the planned end, fixed from then on; after the end was moved to an
        |                           earlier day always anytime.
        run_id             string!
        input_snapshots    string!
        config_hash        string!
        code_version       string!
        computed_at        timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=BY_DT,
    ),
)

TABLES = (*_QUALITY, *_SPINE, *_VERDICTS)
