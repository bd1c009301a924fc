"""Clusters of a rollout: do its units have the attribute that the registry names, and in how many are they?"""

from __future__ import annotations

from typing import Any

from exp_platform.results.checks import Inputs, check_row
from exp_platform.status import CheckStatus

MIN_SHARE = 0.95  # of the units with the attribute, below which the check warns: the others are taken for one cluster


def cluster_checks(inputs: Inputs) -> list[dict[str, Any]]:
    """One row for a rollout with `cluster`; without the attribute errors are between units, and the check fails."""
    cluster = inputs.plan.experiment.cluster
    if not inputs.plan.is_rollout or cluster is None or not inputs.cubes:
        return []
    stats = inputs.cubes[0].stats
    units = (stats.n + stats.n_null)[:, :, 0].sum(axis=1)  # arm × segment
    segments = [i for i, segment in enumerate(inputs.axes.segments) if segment.startswith(f"{cluster}=")]
    total = float(units[:, 0].sum())
    if not total:
        return []
    share = float(units[:, segments].sum()) / total
    if not segments:
        status = CheckStatus.FAIL
        detail = f"no unit has the attribute '{cluster}' at assignment: errors are between units; ingest the attribute"
    else:
        status = CheckStatus.WARN if share < MIN_SHARE else CheckStatus.OK
        counts = (units[:, segments] > 0).sum(axis=1).tolist()
        arms = ", ".join(f"{count} in {arm}" for arm, count in zip(inputs.axes.arms, counts, strict=True))
        detail = f"share of units with the attribute '{cluster}'; clusters: {arms}"
    return [check_row("clusters", status, observed=share, expected=1.0, threshold=MIN_SHARE, detail=detail)]
