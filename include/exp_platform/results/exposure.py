"""J6 and J7: all assigned users beside the exposed ones, as rows that never decide, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from exp_platform.metrics.families import split_by_exposure
from exp_platform.results.checks import CheckInputs, check_row
from exp_platform.results.cube import ALL, Cube, cubes, read_axes
from exp_platform.results.effects import not_applicable, result_frame, with_looks
from exp_platform.results.frame import Frame
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.complier import complier_effect, diluted_effect, gap, per_exposed
from exp_platform.stats.effect import Effect
from exp_platform.stats.exposed_ratio import complier_ratio_effect
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.sufficient import SufficientStatistics
from exp_platform.stats.thresholds import CHECK_SPEAKS_BELOW, speaks
from exp_platform.status import CheckStatus, Method

Rows = list[dict[str, Any]]
EXPOSED = "exposed=yes"
NOT_FOR_RATIOS = "exposure_not_for_ratios"


@dataclass(frozen=True, eq=False)
class Split:
    """Metrics of one shape: the sums of everyone and of the exposed, with the lead (arm, metric, 1)."""

    cube: Cube  # labels alone: its only segment is `all`
    everyone: SufficientStatistics
    exposed: SufficientStatistics


def exposure_frames(table: pa.Table | None, plan: AnalysisPlan) -> list[Frame]:
    """Rows of the methods itt, exposed, complier and diluted for each metric × arm; none where nobody is exposed."""
    return [
        result_frame(effect, method, split.cube, {})
        | {name: np.full(effect.effect_abs.size, np.nan) for name in _BEFORE}
        for split in splits(table, plan)
        for method, effect in _effects(split, plan).items()
    ]


_BEFORE = ("control_pre_mean", "treatment_pre_mean")


def splits(table: pa.Table | None, plan: AnalysisPlan) -> Iterator[Split]:
    """The sums of gold.fct_experiment_exposure_statistics, for metrics that are means, shares or ratios."""
    if table is None or not table.num_rows:
        return
    axes = read_axes(table, plan.arms)
    if EXPOSED not in axes.segments:
        return
    place = axes.segments.index(EXPOSED)
    for cube in cubes(table, split_by_exposure(plan.metrics), axes):
        overall = cube.overall
        labels = replace(cube, axes=replace(axes, segments=(ALL,)))
        yield Split(labels, overall[:, :, :1], overall[:, :, place : place + 1])


def exposure_checks(inputs: CheckInputs) -> Rows:
    """Does the exposed effect, diluted to all users, agree with the ITT effect?

    They differ where users who were not exposed have an effect as well, so that exposures are not all logged, and where
    the treatment changes who is exposed. A ratio is not compared.
    """
    rows: Rows = []
    for split in splits(inputs.exposures, inputs.plan):
        if split.cube.kind == "ratio":
            continue
        found, itt = gap(split.everyone, split.exposed), mean_effect(split.everyone, min_units=2).effect_abs
        for a, arm in enumerate(inputs.plan.arms[1:]):
            for j, metric in enumerate(split.cube.metrics):
                if not np.isfinite(found.p_value[a, j, 0]):
                    continue
                difference, se, p = (float(value[a, j, 0]) for value in (found.difference, found.se, found.p_value))
                rows.append(
                    check_row(
                        "exposure_agreement",
                        speaks(p, CheckStatus.WARN),
                        metric=metric.name,
                        variant=arm,
                        statistic=difference / se,
                        p_value=p,
                        observed=itt[a, j, 0],
                        expected=itt[a, j, 0] - difference,
                        threshold=CHECK_SPEAKS_BELOW,
                        detail="effect on all assigned users; beside it the effect on the exposed, diluted to all",
                    )
                )
    return rows


def _effects(split: Split, plan: AnalysisPlan) -> dict[Method, Effect]:
    options: dict[str, Any] = {"alpha": plan.experiment.alpha, "min_units": plan.experiment.min_units}
    pair = split.everyone, split.exposed
    if split.cube.kind == "ratio":
        itt, exposed = (ratio_effect(sums, **options) for sums in pair)
        none = not_applicable(itt, np.ones(itt.lead, dtype=bool), NOT_FOR_RATIOS)
        return {
            Method.ITT: with_looks(itt, plan),
            Method.EXPOSED: with_looks(exposed, plan),
            Method.COMPLIER: per_exposed(with_looks(complier_ratio_effect(*pair, **options), plan)),
            Method.DILUTED: with_looks(none, plan),
        }
    itt, exposed = (mean_effect(sums, binary=split.cube.kind == "binary", **options) for sums in pair)
    return {
        Method.ITT: with_looks(itt, plan),
        Method.EXPOSED: with_looks(exposed, plan),
        Method.COMPLIER: per_exposed(with_looks(complier_effect(*pair, **options), plan)),
        Method.DILUTED: with_looks(diluted_effect(*pair, **options), plan),
    }
