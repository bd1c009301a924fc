"""gold.latest_results: one small table from which people and dashboards read each experiment's present answer (J8)."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.answers import EFFECT
from exp_platform.lake.tables.declare import declare

TABLES = (
    declare(
        names.LATEST_RESULTS,
        "J8: the deciding row of each metric and arm as of the experiment's latest dt, with trust and decision.",
        ("experiment_id", "metric_name", "variant_id"),
        f"""
        experiment_id            string!
        metric_name              string!
        variant_id               string!  The treatment arm that is compared with control.
        dt                       date!    The experiment's latest as-of date: events before its end (UTC) count.
        metric_version           int!
        role                     string!  primary, secondary, or guardrail for a metric that is only guarded.
        trust                    string!  trusted, caution or not_trusted (then the effects mean nothing).
        decision                 string!  The decision for the arm: invalid, stop, insufficient_data, ship, do_not_ship,
        |                                 keep_running or inconclusive.
        method                   string!  The deciding method: ab, cuped or did.
        status                   string!  ok, insufficient_data, failed_pretrends or not_applicable.
        reason                   string!  Why there is no answer, or what to know of it; empty for nothing.
        interval_in_force        string!  anytime before the planned end, fixed from then on: ci_low, ci_high and
        |                                 p_value_in_force are by it.
        decision_scale           string!  relative or absolute: the scale of effect, ci_low and ci_high.
        effect                   double   The effect on the decision scale: a fraction, or in the metric's unit.
        ci_low                   double   Lower end of its interval in force.
        ci_high                  double   Upper end of it.
        p_value_in_force         double   Two-sided p of that effect by the interval in force, not adjusted.
        {EFFECT}
        alpha                    double!  Two-sided error of every interval, a fraction.
        variance_reduction       double   Share of the variance that the covariates take away, a fraction (CUPED).
        mde                      double   Smallest absolute effect found with 80% power, in the metric's unit.
        run_id                   string!
        input_snapshots          string!
        config_hash              string!
        code_version             string!
        computed_at              timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
)
