"""J6: from cubes of sums to one row per metric × method × treatment arm × segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.did import did_effect
from exp_platform.config.models import Metric
from exp_platform.results.before import before_columns
from exp_platform.results.cube import Cube
from exp_platform.results.cuped_gains import by_covariate, covariate_adjusted
from exp_platform.results.frame import Frame, labels
from exp_platform.results.plan import AnalysisPlan, window_hours
from exp_platform.results.quantiles import quantile_effects
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import NO_COVARIATE
from exp_platform.stats.effect import Effect, blank
from exp_platform.stats.heterogeneity import heterogeneity
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sequential import with_anytime, with_anytime_mde
from exp_platform.stats.sufficient import Array, SufficientStatistics
from exp_platform.status import Method, ResultStatus

NO_PRE_PERIOD = "no_pre_period"
SHORT_PRE_PERIOD = "pre_period_shorter_than_window"
NOT_FOR_QUANTILES = "did_not_for_quantiles"
_COLUMNS = (
    *(f"{arm}_{what}" for arm in ("control", "treatment") for what in ("n", "mean", "sd")),
    *("effect_abs", "effect_abs_ci_low", "effect_abs_ci_high", "p_value"),
    *("effect_rel", "effect_rel_ci_low", "effect_rel_ci_high", "p_value_rel"),
    *("anytime_ci_low", "anytime_ci_high", "anytime_p_value"),
    *("anytime_rel_ci_low", "anytime_rel_ci_high", "anytime_p_value_rel"),
    *("variance_reduction", "mde", "alpha", "status", "reason"),
)


def effect_frames(table: pa.Table, cube: Cube, plan: AnalysisPlan) -> list[Frame]:
    """The rows of a cube's metrics by every method; the lead of each effect is (treatment, metric, segment)."""
    found, gains = by_method(table, cube, plan)
    return [
        result_frame(with_looks(effect, plan), method, cube, gains if method is Method.CUPED else {})
        | before_columns(cube, plan, effect, method)
        for method, effect in found.items()
    ]


def by_method(table: pa.Table, cube: Cube, plan: AnalysisPlan) -> tuple[dict[Method, Effect], Mapping[str, Array]]:
    """The effects of a cube's metrics by every method, and what each source of covariates takes from the variance."""
    if cube.kind == "quantile":
        return quantiles(table, cube, plan), {}
    adjusted = covariate_adjusted(cube, plan)
    return means(cube, plan, adjusted.effect), adjusted.gains


def with_looks(effect: Effect, plan: AnalysisPlan) -> Effect:
    """The anytime-valid columns; while they are in force the detectable effect is that of their test."""
    planned = plan.planned_users
    looks = with_anytime(effect, planned)
    return with_anytime_mde(looks, planned) if plan.interval_in_force == "anytime" else looks


def means(cube: Cube, plan: AnalysisPlan, adjusted: Effect | None = None) -> dict[Method, Effect]:
    """A/B, CUPED and difference in differences of means, shares and ratios."""
    options: dict[str, Any] = {"alpha": plan.experiment.alpha, "min_units": plan.experiment.min_units}
    ratio, binary = cube.kind == "ratio", cube.kind == "binary"
    arms = cube.overall
    if ratio:
        plain = ratio_effect(arms, with_denominator=cube.carriers, **options)
    else:
        plain = mean_effect(arms, binary=binary, **options)
    adjusted = adjusted or covariate_adjusted(cube, plan).effect
    return {Method.AB: plain, Method.CUPED: adjusted, Method.DID: _did(cube, plan, plain, options)}


def quantiles(table: pa.Table, cube: Cube, plan: AnalysisPlan) -> dict[Method, Effect]:
    """A/B of quantiles; CUPED falls back to it, difference in differences does not apply."""
    plain = quantile_effects(table, cube, alpha=plan.experiment.alpha, min_units=plan.experiment.min_units)
    return {
        Method.AB: plain,
        Method.CUPED: _noted(plain, plain.ok, NO_COVARIATE),
        Method.DID: not_applicable(plain, np.ones(plain.lead, dtype=bool), NOT_FOR_QUANTILES),
    }


def _did(cube: Cube, plan: AnalysisPlan, plain: Effect, options: dict[str, Any]) -> Effect:
    """Difference in differences, for a rollout within cohort dates; not without a pre-period as long as the window."""
    if cube.stats.did_v.shape[-1] == 0:
        return not_applicable(plain, np.ones(plain.lead, dtype=bool), NO_PRE_PERIOD)
    shape: dict[str, Any] = {"ratio": cube.kind == "ratio", "binary": cube.kind == "binary"}
    if plan.is_rollout:
        effect = did_effect(cube.stats, rollout=True, by_cohort_date=True, **shape, **options)
        effect = _with_clusters(effect, cube, plan, shape | options)
    else:
        effect = did_effect(cube.overall, **shape, **options)
    for reason in (NO_PRE_PERIOD, SHORT_PRE_PERIOD):
        lacking = np.array([did_obstacle(metric, plan) == reason for metric in cube.metrics])
        effect = not_applicable(effect, np.broadcast_to(lacking[None, :, None], effect.lead), reason)
    return effect


def did_obstacle(metric: Metric, plan: AnalysisPlan) -> str | None:
    """Why a metric has no difference in differences: its pre-period must be as long as its window."""
    days = plan.experiment.pre_period_days if metric.pre_period_days is None else metric.pre_period_days
    if days == 0:
        return NO_PRE_PERIOD
    return SHORT_PRE_PERIOD if window_hours(metric, plan.experiment) > 24 * days else None


def _with_clusters(effect: Effect, cube: Cube, plan: AnalysisPlan, options: dict[str, Any]) -> Effect:
    """Errors of the overall rows by the registry's cluster attribute, whose values come as segments."""
    prefix = f"{plan.experiment.cluster}="
    index = [i for i, segment in enumerate(cube.axes.segments) if segment.startswith(prefix)]
    if plan.experiment.cluster is None or not index:
        return effect
    clusters = cube.stats[:, :, :, index]
    rest = _rest(cube.stats[:, :, :, 0], clusters)
    clustered = clustered_did_effect(_append(clusters, rest), by_cohort_date=True, **options)
    columns = {}
    for f in fields(Effect):
        column = getattr(effect, f.name).copy()
        column[..., 0] = getattr(clustered, f.name)
        columns[f.name] = column
    return Effect(**columns)


def _rest(total: SufficientStatistics, parts: SufficientStatistics) -> SufficientStatistics:
    """Units without a value of the cluster attribute: one more cluster, so that the units stay the same."""
    merged = parts.sum(axis=-1)
    rest = {f.name: getattr(total, f.name) - getattr(merged, f.name) for f in fields(SufficientStatistics)}
    empty = rest["did_n"] <= 0
    for name, value in rest.items():
        mask = empty.reshape(empty.shape + (1,) * (value.ndim - empty.ndim))
        rest[name] = np.where(mask, 0.0, value)
    return SufficientStatistics(**rest)


def _append(parts: SufficientStatistics, one: SufficientStatistics) -> SufficientStatistics:
    axis = len(parts.lead) - 1
    return SufficientStatistics(
        **{
            f.name: np.concatenate([getattr(parts, f.name), np.expand_dims(getattr(one, f.name), axis)], axis=axis)
            for f in fields(SufficientStatistics)
        }
    )


def _noted(effect: Effect, where: Any, word: str) -> Effect:
    """Add a reason to the answers that `where` picks; their numbers stay."""
    joined = np.where(effect.reason == "", word, effect.reason + f", {word}")
    return replace(effect, reason=np.where(where, joined, effect.reason))


def not_applicable(effect: Effect, where: Any, reason: str) -> Effect:
    """No answer where the method does not apply, and why."""
    blanked = blank(effect, where)
    return replace(
        blanked,
        status=np.where(where, ResultStatus.NOT_APPLICABLE.value, effect.status),
        reason=np.where(where, reason, effect.reason),
    )


def result_frame(effect: Effect, method: Method, cube: Cube, gains: Mapping[str, Array]) -> Frame:
    """Columns of exp.analysis_results, a row for each element; the lead is (treatment, metric, segment)."""
    variant, metric, segment = labels(cube.axes.arms[1:], [m.name for m in cube.metrics], cube.axes.segments)
    version = labels(cube.axes.arms[1:], [m.version for m in cube.metrics], cube.axes.segments)[1]
    frame: Frame = {"variant_id": variant, "metric_name": metric, "metric_version": version, "segment": segment}
    frame["method"] = np.full(len(variant), method.value, dtype=object)
    frame["heterogeneity_p_value"] = _heterogeneity(effect, cube.axes.segments).ravel()
    for name in _COLUMNS:
        frame[name] = np.asarray(getattr(effect, name)).ravel()
    frame["variance_reduction_by_covariate"] = by_covariate(gains, len(variant))
    return frame


def _heterogeneity(effect: Effect, segments: Sequence[str]) -> np.ndarray[Any, Any]:
    """For each segment row the p of its dimension; null in the overall rows."""
    p_value = np.full(effect.lead, np.nan)
    for dimension in sorted({segment.split("=", 1)[0] for segment in segments[1:]}):
        index = [i for i, segment in enumerate(segments) if segment.startswith(f"{dimension}=")]
        p_value[..., index] = heterogeneity(effect[..., index]).p_value[..., None]
    return p_value
