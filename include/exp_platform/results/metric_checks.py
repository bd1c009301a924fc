"""Sanity of each metric's data: A/A before the experiment, who has a value, outliers, caps, maturity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from exp_platform.config.models import Metric
from exp_platform.results.checks import Inputs, check_row
from exp_platform.results.cube import bucket_stats
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sanity import OUTLIER_SHARE, outlier_share, pre_period_effect, share_with_value, skewness
from exp_platform.stats.thresholds import CHECK_SPEAKS_BELOW, speaks
from exp_platform.status import CheckStatus

Rows = list[dict[str, Any]]


def aa_checks(inputs: Inputs) -> Rows:
    """Do the arms already differ before the experiment? Holm over metrics and arms; not for a rollout, which may."""
    if inputs.plan.is_rollout:
        return []
    found: list[tuple[Metric, str, float, float]] = []
    for cube in inputs.cubes:
        if cube.stats.k == 0:
            continue
        arms = cube.overall[:, :, 0]
        effect = pre_period_effect(arms, ratio=cube.kind == "ratio", min_units=inputs.plan.experiment.min_units)
        for a, j in np.argwhere(effect.ok):
            found.append((cube.metrics[j], cube.axes.arms[a + 1], effect.effect_abs[a, j], effect.p_value[a, j]))
    adjusted = holm([p for *_, p in found])
    return [
        check_row(
            "aa_pre_period",
            speaks(p, CheckStatus.FAIL),
            metric=metric.name,
            variant=arm,
            statistic=effect,
            p_value=p,
            threshold=CHECK_SPEAKS_BELOW,
            detail="difference between the arms before the experiment; Holm over metrics and arms",
        )
        for (metric, arm, effect, _), p in zip(found, adjusted, strict=True)
    ]


def share_checks(inputs: Inputs) -> Rows:
    """Does the experiment change who has a value at all (for ratios: the mean denominator)? Not for a rollout."""
    if inputs.plan.is_rollout:
        return []
    rows: Rows = []
    for cube in inputs.cubes:
        ratio = cube.kind == "ratio"
        arms = cube.overall[:, :, 0]
        complete = np.array([metric.maturity_in_force == "complete" for metric in cube.metrics])
        # Where only mature units count, one that is not mature yet says nothing of who has a value.
        without = np.maximum(cube.n_mature.sum(axis=1)[..., 0] - arms.n, 0)
        arms = replace(arms, n_null=np.where(complete, without, arms.n_null))
        effect = share_with_value(arms, ratio=ratio)
        for a, j in np.argwhere(effect.ok):
            if not ratio and not cube.metrics[j].leaves_users_out:
                continue
            p_value = effect.p_value[a, j]
            rows.append(
                check_row(
                    "share_with_value",
                    speaks(p_value, CheckStatus.WARN),
                    metric=cube.metrics[j].name,
                    variant=cube.axes.arms[a + 1],
                    statistic=effect.effect_abs[a, j],
                    p_value=p_value,
                    observed=effect.treatment_mean[a, j],
                    expected=effect.control_mean[a, j],
                    threshold=CHECK_SPEAKS_BELOW,
                    detail="mean denominator" if ratio else "share of units with a value",
                )
            )
    return rows


def outlier_checks(inputs: Inputs) -> Rows:
    """Can a handful of units carry the result? Skewness against each arm's units, and the spread by unit bucket."""
    rows: Rows = []
    for cube in inputs.cubes:
        if cube.kind in ("binary", "quantile"):
            continue
        arms = cube.overall[:, :, 0]
        skew = skewness(arms)
        share, extreme = outlier_share(bucket_stats(inputs.statistics, cube))
        enough = arms.n >= inputs.plan.experiment.min_units
        for a, j in np.argwhere(enough & np.isfinite(skew.skewness)):
            where: dict[str, Any] = {"metric": cube.metrics[j].name, "variant": cube.axes.arms[a]}
            rows.append(
                check_row(
                    "skewness",
                    CheckStatus.WARN if skew.warn[a, j] else CheckStatus.OK,
                    statistic=skew.skewness[a, j],
                    observed=arms.n[a, j],
                    threshold=skew.needed_n[a, j],
                    detail="units in the arm, and the 355 × skewness² that a t test needs (after the cap)",
                    **where,
                )
            )
            rows.append(
                check_row(
                    "outliers",
                    CheckStatus.WARN if extreme[a, j] else CheckStatus.OK,
                    observed=share[a, j],
                    threshold=OUTLIER_SHARE,
                    detail="largest share of the arm's spread that one of 256 unit buckets holds (after the cap)",
                    **where,
                )
            )
    return rows


def maturity_checks(inputs: Inputs) -> Rows:
    """Share of included units whose window has closed; never a verdict."""
    rows: Rows = []
    for cube in inputs.cubes:
        units = (cube.stats.n + cube.stats.n_null)[..., 0].sum(axis=(0, 1))
        mature = cube.n_mature[..., 0].sum(axis=(0, 1))
        for j, metric in enumerate(cube.metrics):
            share = mature[j] / units[j] if units[j] else None
            detail = f"share of mature units; maturity: {metric.maturity_in_force}"
            rows.append(check_row("maturity", metric=metric.name, observed=share, detail=detail))
    return rows


def cap_checks(inputs: Inputs) -> Rows:
    """A cap that came out as 0 was not applied."""
    wanted = [metric for metric in inputs.plan.metrics if metric.cap is not None]
    if not wanted:
        return []
    caps = inputs.statistics.group_by("metric_name").aggregate([("cap", "max"), ("cap_denominator", "max")]).to_pylist()
    found = {row["metric_name"]: row["cap_max"] for row in caps}
    half = {row["metric_name"] for row in caps if not row["cap_denominator_max"]}
    return [
        check_row(
            "cap",
            CheckStatus.OK if applied else CheckStatus.WARN,
            metric=metric.name,
            observed=found[metric.name],
            detail="the cap in force" if applied else "a cap came out as 0 and was not applied",
        )
        for metric in wanted
        if metric.name in found
        for applied in [bool(found[metric.name]) and not (metric.is_ratio and metric.name in half)]
    ]
