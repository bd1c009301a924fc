"""J7: every check on one experiment, in one list of rows."""

from __future__ import annotations

from typing import Any

from exp_platform.results.absent import absent_checks
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cluster_checks import cluster_checks
from exp_platform.results.effect_checks import novelty_checks, power_checks, pretrend_checks, twyman_checks
from exp_platform.results.exposure import exposure_checks
from exp_platform.results.metric_checks import aa_checks, cap_checks, maturity_checks, outlier_checks, share_checks
from exp_platform.results.repeated import repeated_checks
from exp_platform.results.srm_checks import planned_users_check, srm_checks

CHECKS = (
    srm_checks,
    planned_users_check,
    maturity_checks,
    power_checks,
    aa_checks,
    share_checks,
    outlier_checks,
    cap_checks,
    twyman_checks,
    novelty_checks,
    pretrend_checks,
    cluster_checks,
    exposure_checks,
    absent_checks,
    repeated_checks,
)


def validate(inputs: CheckInputs) -> list[dict[str, Any]]:
    """One row per check × metric × arm × segment, sorted by the table's grain."""
    rows = [row for check in CHECKS for row in check(inputs)]
    return sorted(rows, key=lambda r: (r["check_name"], r["metric_name"], r["variant_id"], r["segment"]))
