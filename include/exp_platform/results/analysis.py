"""J6: the rows of exp.analysis_results, did_pretrend_delta and did_pretrend_tests from the statistics tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.results.absent import Absent, without_absent
from exp_platform.results.cube import ALL, Axes, Cube, cubes, read_axes
from exp_platform.results.effects import effect_frames
from exp_platform.results.exposure import exposure_frames
from exp_platform.results.frame import Frame, concat, rank, take
from exp_platform.results.plan import AnalysisPlan, in_force, names
from exp_platform.results.pretrend_rows import pretrend_frames
from exp_platform.stats.multiplicity import benjamini_hochberg, holm
from exp_platform.stats.sufficient import Array
from exp_platform.status import Method, PretrendVerdict, ResultStatus

METHODS = tuple(method.value for method in Method)
NOT_TESTED = "pretrends_not_tested"


@dataclass(frozen=True, eq=False)
class Analysis:
    """The answer columns of the three tables of J6."""

    results: Frame
    deltas: Frame
    tests: Frame


def analyze(
    statistics: pa.Table,
    panel: pa.Table,
    plan: AnalysisPlan,
    exposures: pa.Table | None = None,
    absent: Sequence[Absent] = (),
) -> Analysis:
    """All effects of one experiment as of one dt; costs grow with metrics, arms, segments and dates, not with users.

    `exposures` is gold.fct_experiment_exposure_statistics, from which all users stand beside the exposed ones.
    `absent` names the metrics whose source has no event.
    """
    axes = read_axes(statistics, plan.arms)
    groups = cubes(statistics, plan.metrics, axes)
    deltas, tests = pretrend_frames(panel, axes, included_units(groups), plan)
    frames = [frame for cube in groups for frame in effect_frames(statistics, cube, plan)]
    frames += exposure_frames(exposures, plan)
    results = _sorted(_only_dimensions(concat(frames), plan), axes, plan)
    results = without_absent(with_pretrends(results, tests, plan), absent)
    results["is_deciding"] = is_deciding(results, plan)
    results["p_value_adjusted"] = adjusted_p(results, plan)
    return Analysis(results, deltas, tests)


def included_units(groups: Sequence[Cube]) -> dict[str, Array]:
    """For each metric the included units by arm × cohort date, whether they have a value or not."""
    return {
        metric.name: (cube.stats.n + cube.stats.n_null)[:, :, j, 0]
        for cube in groups
        for j, metric in enumerate(cube.metrics)
    }


def is_deciding(results: Frame, plan: AnalysisPlan) -> NDArray[np.bool_]:
    """One row per metric × arm, fixed in advance: the whole cohort, by the registry's method."""
    return np.asarray((results["segment"] == ALL) & (results["method"] == plan.experiment.method_in_force))


def with_pretrends(results: Frame, tests: Frame, plan: AnalysisPlan) -> Frame:
    """Difference in differences without parallel pre-trends is no answer: its numbers stay, its status says so.

    A rollout whose pre-trends could not be tested keeps its status, with the reason `pretrends_not_tested`.
    """
    verdicts: dict[tuple[str, str], set[str]] = {}
    for metric, variant, verdict in zip(tests["metric_name"], tests["variant_id"], tests["verdict"], strict=True):
        verdicts.setdefault((metric, variant), set()).add(verdict)
    status, reason = results["status"].copy(), results["reason"].copy()
    of_did = (results["method"] == Method.DID.value) & (results["status"] == ResultStatus.OK.value)
    for i in np.flatnonzero(of_did):
        found = verdicts.get((results["metric_name"][i], results["variant_id"][i]), set())
        if PretrendVerdict.FAILED.value in found:
            status[i] = ResultStatus.FAILED_PRETRENDS.value
        elif plan.is_rollout and found != {PretrendVerdict.PASSED.value}:
            reason[i] = ", ".join(filter(None, (reason[i], NOT_TESTED)))
    return results | {"status": status, "reason": reason}


def adjusted_p(results: Frame, plan: AnalysisPlan) -> Array:
    """Holm within each family, on the p in force; null outside every family.

    Families: the primary's arms; all secondary metric × arm, where the policy may ask for Benjamini–Hochberg; the
    segment values of one metric × arm × method.
    """
    p_value = p_in_force(results, plan)
    adjusted = np.full(len(p_value), np.nan)
    deciding = results["is_deciding"]
    primary = results["metric_name"] == plan.experiment.primary_metric
    secondary = np.isin(rank(results["metric_name"], names(plan.metrics)), _secondary_positions(plan))
    adjusted[deciding & primary] = holm(p_value[deciding & primary])
    by_policy = benjamini_hochberg if plan.secondaries == "benjamini_hochberg" else holm
    adjusted[deciding & secondary] = by_policy(p_value[deciding & secondary])
    # Rows are sorted and every metric × arm × method has the same segments, so that each family is a row of a matrix.
    segments = np.flatnonzero(results["segment"] != ALL)
    if len(segments):
        values = len(set(results["segment"][segments]))
        adjusted[segments] = holm(p_value[segments].reshape(-1, values), axis=-1).ravel()
    return adjusted


def p_in_force(results: Frame, plan: AnalysisPlan) -> Array:
    """The p that decides in each row: anytime-valid before the planned end; null unless ok, or without an effect on the
    contract's scale."""
    relative = np.array([metric.decision_scale == "relative" for metric in plan.metrics])
    on_relative = relative[rank(results["metric_name"], names(plan.metrics))]
    columns = [in_force(plan.interval_in_force, scale)["p"] for scale in ("relative", "absolute")]
    p_value = np.where(on_relative, results[columns[0]], results[columns[1]])
    return np.where(results["status"] == ResultStatus.OK.value, p_value, np.nan)


def _secondary_positions(plan: AnalysisPlan) -> list[int]:
    return [i for i, metric in enumerate(plan.metrics) if plan.is_secondary(metric.name)]


def _only_dimensions(results: Frame, plan: AnalysisPlan) -> Frame:
    """Without the segments of the cluster attribute, unless the registry also lists it as a dimension."""
    cluster = plan.experiment.cluster
    if cluster is None or cluster in plan.experiment.dimensions:
        return results
    return take(results, np.array([not s.startswith(f"{cluster}=") for s in results["segment"]]))


def _sorted(results: Frame, axes: Axes, plan: AnalysisPlan) -> Frame:
    keys = (
        rank(results["segment"], axes.segments),
        rank(results["method"], METHODS),
        rank(results["variant_id"], axes.arms),
        rank(results["metric_name"], names(plan.metrics)),
    )
    return take(results, np.lexsort(keys))
