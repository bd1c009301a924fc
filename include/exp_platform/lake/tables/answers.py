"""exp: the answers that are published for people (J5, J6)."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import BY_DT, declare

_MOMENTS = """
    n                          long!   Users with a value that counts; by calendar date users whose window was open.
    n_null                     long!   Included users without one.
    sum                        double  Sum of the users' values, in the metric's unit; of a ratio the numerators.
    sum_squares                double  Sum of their squares.
    covariate_sum              double  Sum of the covariate; of a ratio the numerator's.
    covariate_sum_squares      double  Sum of its squares.
    covariate_cross_product    double  Sum of covariate times value.
    denominator_sum            double  Sum of a ratio's denominators; null for other metrics.
    denominator_sum_squares    double  Sum of their squares.
    denominator_cross_product  double  Sum of numerator times denominator.
"""

# One estimated effect: the columns that exp.analysis_results and gold.latest_results share.
EFFECT = """
    control_n                long     Users of control with a value.
    control_mean             double   Level of control in the metric's unit: mean, ratio, quantile or adjusted mean.
    control_sd               double   Standard deviation between the users of control, in the metric's unit.
    treatment_n              long     Users of the arm with a value.
    treatment_mean           double   Level of the arm in the metric's unit.
    treatment_sd             double   Standard deviation between the users of the arm.
    control_pre_mean         double   Level of control before assignment; of difference-in-differences alone.
    treatment_pre_mean       double   Level of the arm before assignment; of difference-in-differences alone.
    effect_abs               double   Treatment minus control, in the metric's unit.
    effect_abs_ci_low        double   Lower end of its fixed-horizon interval, with error alpha.
    effect_abs_ci_high       double   Upper end of it.
    effect_rel               double   Relative effect, a fraction (0.02 is +2%); null where the base is near 0.
    effect_rel_ci_low        double   Lower end of its fixed-horizon interval.
    effect_rel_ci_high       double   Upper end of it.
    p_value                  double   Two-sided p of the absolute effect, for one look.
    p_value_adjusted         double   The p in force after Holm over its family; null outside every family.
    p_value_rel              double   Two-sided p of the relative effect, for one look.
    anytime_ci_low           double   Lower end of the absolute effect's interval that may be looked at every day.
    anytime_ci_high          double   Upper end of it.
    anytime_rel_ci_low       double   Lower end of the relative effect's interval that may be looked at every day.
    anytime_rel_ci_high      double   Upper end of it.
    anytime_p_value          double   p of the absolute effect that may be looked at every day.
    anytime_p_value_rel      double   p of the relative effect that may be looked at every day.
"""

TABLES = (
    declare(
        names.METRIC_AGGREGATES_OVERALL,
        "J5: sums, squares and cross products of each metric over all cohort dates, after the cap.",
        ("experiment_id", "metric_name", "variant_id", "segment"),
        f"""
        experiment_id              string!
        metric_name                string!
        variant_id                 string!
        segment                    string!
        {_MOMENTS}
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
    declare(
        names.METRIC_AGGREGATES_DAILY,
        "J5: these sums by cohort date, and by calendar date (uncapped) for metrics that add up over days.",
        ("experiment_id", "metric_name", "variant_id", "segment", "date_kind", "date"),
        f"""
        experiment_id              string!
        metric_name                string!
        variant_id                 string!
        segment                    string!
        date_kind                  string! cohort or calendar.
        date                       date!   The cohort date, or the UTC day of the events.
        {_MOMENTS}
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
    declare(
        names.ANALYSIS_RESULTS,
        "J6: the effect of each arm on each metric, by each method.",
        ("experiment_id", "dt", "metric_name", "method", "variant_id", "segment"),
        f"""
        experiment_id            string!
        dt                       date!
        metric_name              string!
        metric_version           int!
        method                   string!  How the effect is estimated: ab, cuped or did. Beside them itt, exposed,
        |                                  complier and diluted, which never decide.
        variant_id               string!  The treatment arm that is compared with control.
        segment                  string!
        {EFFECT}
        heterogeneity_p_value    double   p that the effect is one in all segments of the row's dimension; null overall.
        alpha                    double!  Two-sided error of every interval, a fraction.
        variance_reduction       double   Share of the variance that the covariates take away, a fraction (CUPED).
        variance_reduction_by_covariate  map<string,double>  That share by source: pre (the metric before the
        |                                 assignment), metrics that the contract names, the stratify_by dimension; each
        |                                 beyond those before it, and only those in use.
        mde                      double   Smallest absolute effect found with 80% power, in the metric's unit.
        status                   string!  ok, insufficient_data, failed_pretrends or not_applicable.
        reason                   string!  Why there is no answer, or what to know of it; empty for nothing.
        is_deciding              boolean! True for the row that decides: segment `all`, the registry's method.
        run_id                   string!
        input_snapshots          string!
        config_hash              string!
        code_version             string!
        computed_at              timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=BY_DT,
    ),
    declare(
        names.PRETREND_DELTA,
        "J6: event study before assignment, the difference between the arms on each relative day.",
        ("experiment_id", "dt", "metric_name", "variant_id", "relative_day"),
        """
        experiment_id   string!
        dt              date!
        metric_name     string!
        variant_id      string!  The treatment arm that is compared with control.
        relative_day    int!     Day relative to the assignment, negative: -1 is the last 24 hours before.
        control_mean    double   Mean of control's users on that day, in the metric's unit a day.
        treatment_mean  double   Mean of the arm's users on that day.
        delta           double   Treatment minus control.
        ci_low          double   Lower end of its interval, with error alpha.
        ci_high         double   Upper end of it.
        run_id          string!
        computed_at     timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=BY_DT,
    ),
    declare(
        names.PRETREND_TESTS,
        "J6: do the arms run in parallel before assignment?",
        ("experiment_id", "dt", "metric_name", "variant_id", "test"),
        """
        experiment_id     string!
        dt                date!
        metric_name       string!
        variant_id        string!  The treatment arm that is compared with control.
        test              string!  slope (of the deltas on the day) or joint (all deltas are equal).
        statistic         double   t of the slope, F of the joint test.
        df                double   Degrees of freedom of t, or of F's numerator.
        df_denominator    double   Degrees of freedom of F's denominator; null for the slope.
        p_value           double   p of the test.
        p_value_adjusted  double   That p after Holm over the two tests.
        verdict           string!  passed, failed or insufficient_data.
        reason            string!  Why there is no verdict; empty where there is one.
        run_id            string!
        computed_at       timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=BY_DT,
    ),
)
