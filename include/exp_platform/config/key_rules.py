"""Rules between several keys of a metric or an experiment, which no single field can check."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from exp_platform.config.models import ID_PATTERN, Experiment, Metric
from exp_platform.config.source_rules import experiment_source_problems
from exp_platform.config.words import suggest as suggest

NAME_PATTERN = r"[a-z][a-z0-9_]{0,63}"


def metric_problems(metric: Metric, file_stem: str) -> list[str]:
    """Every rule that a metric contract breaks, as `key: sentence`."""
    problems = []
    if metric.name != file_stem:
        problems.append(f"name: '{metric.name}' must equal the file's name '{file_stem}'")
    if not re.fullmatch(NAME_PATTERN, metric.name):
        problems.append(f"name: '{metric.name}' may hold small letters, digits and underscores only")
    if metric.is_share and metric.decision_scale == "absolute" and metric.practical_threshold >= 1:
        problems.append(
            f"practical_threshold: found {metric.practical_threshold:g}, must be below 1: the metric is a share of "
            "users, and 0.01 is one point"
        )
    return problems + _shape_problems(metric) + _window_problems(metric) + _cap_problems(metric)


def covariate_problems(metric: Metric, metrics: Mapping[str, Metric], broken: Mapping[str, str]) -> list[str]:
    """Every rule that the named covariates of a metric break; `broken` says why other metrics are refused."""
    names = metric.covariates
    problems = [
        f"covariates: '{name}' is refused: {broken[name]}"
        if name in broken
        else f"covariates: metric '{name}' not found{suggest(name, metrics)}"
        for name in names
        if name not in metrics
    ]
    problems += [f"covariates: '{name}' is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if metric.name in names:
        problems.append(f"covariates: '{metric.name}' is the metric itself, whose pre-period is a covariate already")
    problems += [
        f"covariates: '{name}' is a quantile of events, of which no user has a value"
        for name in names
        if name in metrics and metrics[name].of_events
    ]
    if names and metric.estimand == "quantile":
        problems.append("covariates: a quantile metric has none, CUPED does not apply to it")
    return problems


def _shape_problems(metric: Metric) -> list[str]:
    problems = []
    if metric.is_ratio:
        problems += [
            f"{key}: a ratio needs a {key} with source and aggregation"
            for key in ("numerator", "denominator")
            if getattr(metric, key) is None
        ]
        if metric.aggregation or metric.source:
            problems.append("aggregation, source: a ratio states them in its numerator and denominator")
    elif metric.numerator or metric.denominator:
        problems.append(f"numerator, denominator: only a ratio has them, this metric is of type {metric.type}")
    if metric.estimand == "quantile":
        if metric.quantile is None or not 0 < metric.quantile < 1:
            problems.append(f"quantile: found {metric.quantile}, a quantile metric needs one between 0 and 1")
        if metric.level == "event" and metric.aggregation:
            problems.append("aggregation: a quantile of events has none")
    elif metric.quantile is not None:
        problems.append(f"quantile: only a quantile metric has one, this metric is of type {metric.type}")
    if metric.estimand != "quantile" and metric.level == "event":
        problems.append("level: only a quantile metric can be of level event")
    allowed = metric.traits.allowed
    if metric.aggregation and allowed and metric.aggregation not in allowed:
        problems.append(f"aggregation: found {metric.aggregation}, type {metric.type} allows {', '.join(allowed)}")
    return problems


def _window_problems(metric: Metric) -> list[str]:
    window = metric.window
    problems = []
    if window.start_hours < 0 or not math.isfinite(window.start_hours):
        problems.append(f"window.start_hours: found {window.start_hours}, must be 0 or more: nothing before the anchor")
    if window.end_hours != "experiment" and not window.start_hours < window.end_hours < math.inf:
        problems.append(
            f"window.end_hours: found {window.end_hours}, must be more than start_hours ({window.start_hours})"
        )
    if metric.traits.opens_later and window.start_hours <= 0:
        problems.append(
            f"window.start_hours: found {window.start_hours}, must be more than 0: a {metric.type} metric looks at a "
            "later window"
        )
    return problems


def _cap_problems(metric: Metric) -> list[str]:
    cap = metric.cap
    if cap is None:
        return []
    if (cap.value is None) == (cap.quantile is None):
        return ["cap: give exactly one of value and quantile"]
    problems = []
    if cap.quantile is not None and not 0 < cap.quantile < 1:
        problems.append(f"cap.quantile: found {cap.quantile}, must lie between 0 and 1")
    if cap.value is not None and (cap.value < 0 or not math.isfinite(cap.value)):
        problems.append(f"cap.value: found {cap.value}, must be a finite number of 0 or more")
    if not metric.traits.may_be_capped:
        problems.append(f"cap: a metric of type {metric.type} cannot be capped")
    if cap.quantile is not None and metric.of_events:
        problems.append("cap.quantile: a quantile of events has no value of each unit; give cap.value, or leave it out")
    return problems


def experiment_problems(experiment: Experiment, file_stem: str, metrics: Mapping[str, Metric]) -> list[str]:
    """Every rule that an experiment's configuration breaks, as `key: sentence`."""
    problems = []
    if experiment.experiment_id != file_stem:
        problems.append(f"experiment_id: '{experiment.experiment_id}' must equal the file's name '{file_stem}'")
    if not re.fullmatch(ID_PATTERN, experiment.experiment_id):
        problems.append(
            f"experiment_id: {experiment.experiment_id!r} is not allowed; expected a small letter, then 2 to 63 small "
            "letters, digits or underscores"
        )
    if experiment.end_ts <= experiment.start_ts:
        problems.append(f"end_ts: found {experiment.end_ts}, must be after start_ts {experiment.start_ts}")
    problems += _variant_problems(experiment) + experiment_source_problems(experiment)
    return problems + _metric_choice_problems(experiment, metrics)


def _variant_problems(experiment: Experiment) -> list[str]:
    variants = experiment.variants
    if len(variants) < 2:
        return [f"variants: found {len(variants)}, an experiment needs a control and at least one treatment"]
    problems = []
    ids = [v.id for v in variants]
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        problems.append(f"variants: '{twice}' is there twice")
    if "all" in ids or any(not i.strip() for i in ids):
        problems.append("variants: an id must not be empty or the word 'all'")
    controls = [v.id for v in variants if v.is_control]
    if len(controls) != 1:
        problems.append(f"variants: exactly one needs is_control: true, found {controls or 'none'}")
    return problems + _share_problems(experiment)


def _share_problems(experiment: Experiment) -> list[str]:
    """Arms that are drawn at random promise their shares; those of a rollout may leave them out, all together."""
    variants = experiment.variants
    without = [v.id for v in variants if v.allocation is None]
    if len(without) == len(variants) and experiment.design == "rollout":
        return []
    if without:
        who = (
            "an arm drawn at random promises its share" if experiment.design == "randomized" else "other arms have one"
        )
        return [f"variants: '{name}' has no allocation, but {who}: give it one" for name in without]
    total = math.fsum(v.allocation or 0.0 for v in variants)
    if abs(total - 1) > 1e-9:
        return [f"variants: shares add up to {total:g}, must be 1.0"]
    if sum(v.is_live for v in variants) < 2 or any(v.is_control and not v.is_live for v in variants):
        return ["variants: the control and at least one treatment need an allocation above 0"]
    return []


def _metric_choice_problems(experiment: Experiment, metrics: Mapping[str, Metric]) -> list[str]:
    problems = []
    for key, names in (
        ("metrics", experiment.metrics),
        ("guardrails", tuple(g.metric for g in experiment.guardrails)),
        ("primary_metric", (experiment.primary_metric,) if experiment.primary_metric else ()),
    ):
        problems += [
            f"{key}: metric '{name}' not found{suggest(name, metrics)}" for name in names if name not in metrics
        ]
        problems += [f"{key}: '{name}' is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for i, guardrail in enumerate(experiment.guardrails):
        key = "max_relative_harm" if guardrail.max_relative_harm is not None else "max_absolute_harm"
        share = guardrail.metric in metrics and metrics[guardrail.metric].is_share
        if guardrail.margin > 1 and (key == "max_relative_harm" or share):
            problems.append(
                f"guardrails.{i}.{key}: found {guardrail.margin:g} for '{guardrail.metric}', which is "
                f"{guardrail.margin:.0%}; at most 1 is allowed, and 0.02 is 2%"
            )
    if not experiment.metrics:
        problems.append("metrics: name at least one")
    if experiment.primary_metric and experiment.primary_metric not in experiment.metrics:
        problems.append(f"primary_metric: '{experiment.primary_metric}' must be one of metrics")
    if experiment.design == "rollout" and experiment.method_in_force != "did":
        problems.append(f"decision_method: found {experiment.decision_method}, a rollout is decided by did")
    if experiment.stratify_by and experiment.stratify_by not in experiment.dimensions:
        known = ", ".join(experiment.dimensions) or "none"
        problems.append(
            f"stratify_by: found '{experiment.stratify_by}', must be one of dimensions ({known})"
            f"{suggest(experiment.stratify_by, experiment.dimensions)}"
        )
    if experiment.cluster and experiment.design != "rollout":
        problems.append("cluster: only a rollout clusters its errors by an attribute")
    return problems
