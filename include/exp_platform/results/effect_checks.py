"""Sanity of each effect: its power, the metric's history, novelty, and parallel pre-trends."""

from __future__ import annotations

from typing import Any

import numpy as np

from exp_platform.config.models import Metric
from exp_platform.results.checks import CheckInputs, check_row
from exp_platform.results.plan import window_hours
from exp_platform.results.pretrend_rows import joint_verdict
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.novelty import novelty_trend
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sanity import HISTORY, twyman
from exp_platform.stats.sufficient import Array
from exp_platform.stats.thresholds import CHECK_SPEAKS_BELOW, PRETRENDS_FAIL_BELOW, speaks
from exp_platform.status import CheckStatus, PretrendVerdict, ResultStatus

Rows = list[dict[str, Any]]
MIN_COHORT = 30  # units of an arm from which a cohort date knows the error of its own effect


def twyman_checks(inputs: CheckInputs) -> Rows:
    """An effect far outside what the metric has seen in other experiments is more often a fault than a discovery."""
    rows: Rows = []
    for (metric, arm), row in inputs.deciding.items():
        if row["status"] != ResultStatus.OK.value or row["effect_rel"] is None:
            continue
        p_column = "p_value_rel" if inputs.plan.interval_in_force == "fixed" else "anytime_p_value_rel"
        found = twyman(row["effect_rel"], row[p_column], inputs.history.get(metric, []), inputs.plan.experiment.alpha)
        past = f"{found.history} effects of other experiments"
        rows.append(
            check_row(
                "twyman",
                CheckStatus.WARN if found.warn else CheckStatus.OK,
                metric=metric,
                variant=arm,
                p_value=row[p_column],
                observed=row["effect_rel"],
                threshold=found.threshold,
                detail=past if found.history >= HISTORY else f"{past}: too few for a history, so a fixed ceiling",
            )
        )
    return rows


def novelty_checks(inputs: CheckInputs) -> Rows:
    """Does the effect fade or grow with the days since exposure?

    Cohorts of different age are independent groups that have been exposed for so many days (at most the window). What
    adds up over days is taken per day; a ratio needs no such division. Shares, extremes and quantiles are left out:
    theirs changes with the days also without novelty. So are dates with fewer than 30 units in an arm, whose weight
    would be chance.
    """
    rows: Rows = []
    for cube in inputs.cubes:
        if cube.kind not in ("mean", "ratio"):
            continue
        daily = cube.stats[:, :, :, 0]
        estimate = ratio_effect if cube.kind == "ratio" else mean_effect
        effect = estimate(daily, min_units=MIN_COHORT)
        for j, metric in enumerate(cube.metrics):
            if metric.window.start_hours > 0 or not (
                cube.kind == "ratio" or metric.aggregation_in_force in ("sum", "count")
            ):
                continue
            days = exposed_days(inputs, metric)
            per_day = np.ones_like(days) if cube.kind == "ratio" else days
            for a, arm in enumerate(cube.axes.arms[1:]):
                trend = novelty_trend(days, effect.effect_abs[a, :, j] / per_day, effect.se_abs[a, :, j] / per_day)
                if trend.p_value is None:
                    continue
                rows.append(
                    check_row(
                        "novelty",
                        trend.status,
                        metric=metric.name,
                        variant=arm,
                        statistic=trend.slope,
                        p_value=trend.p_value,
                        observed=trend.late,
                        expected=trend.early,
                        threshold=CHECK_SPEAKS_BELOW,
                        detail="change of the daily effect per day since exposure; long against short exposure",
                    )
                )
    return rows


def exposed_days(inputs: CheckInputs, metric: Metric) -> Array:
    """Days that the cohort of each date has been in the metric's window, on average, at most the whole window."""
    ages = [(inputs.plan.cutoff.date() - day).days - 0.5 for day in inputs.axes.dates]
    return np.asarray(np.minimum(np.array(ages, dtype=float), window_hours(metric, inputs.plan.experiment) / 24))


def power_checks(inputs: CheckInputs) -> Rows:
    """The smallest effect that this look finds with 80% power by the interval in force; never a verdict."""
    rows: Rows = []
    test = "anytime-valid" if inputs.plan.interval_in_force == "anytime" else "fixed-horizon"
    for (name, arm), row in inputs.deciding.items():
        metric = inputs.plan.metric(name)
        mde = row["mde"]
        if mde is not None and metric.decision_scale == "relative":
            mde = mde / abs(row["control_mean"]) if row["control_mean"] else None
        rows.append(
            check_row(
                "power",
                metric=name,
                variant=arm,
                observed=mde,
                expected=metric.practical_threshold or None,
                detail=f"detectable with 80% power by the {test} test, {metric.decision_scale} scale; beside it the "
                "practical threshold",
            )
        )
    return rows


def pretrend_checks(inputs: CheckInputs) -> Rows:
    """Parallel pre-trends: a rollout's deciding metric must pass, elsewhere the check speaks like any other."""
    rows: Rows = []
    pairs = sorted({(row["metric_name"], row["variant_id"]) for row in inputs.pretrends})
    primary = inputs.plan.experiment.primary_metric
    if inputs.plan.is_rollout and primary:
        pairs = sorted({*pairs, *((primary, arm.id) for arm in inputs.plan.experiment.treatments)})
    for name, arm in pairs:
        tests = [row for row in inputs.pretrends if (row["metric_name"], row["variant_id"]) == (name, arm)]
        values = [row["p_value_adjusted"] for row in tests if row["p_value_adjusted"] is not None]
        p_value = min(values, default=None)
        decides = inputs.plan.is_rollout and name == primary
        verdict = joint_verdict(row["verdict"] for row in tests)
        if decides:
            status = CheckStatus.OK if verdict == PretrendVerdict.PASSED.value else CheckStatus.FAIL
        else:
            status = speaks(p_value, CheckStatus.FAIL)
        rows.append(
            check_row(
                "pretrends",
                status,
                metric=name,
                variant=arm,
                p_value=p_value,
                threshold=PRETRENDS_FAIL_BELOW if decides else CHECK_SPEAKS_BELOW,
                detail=f"slope and joint test, the smaller p after Holm: {verdict}",
            )
        )
    return rows
