"""Can the result be believed? From the verdicts of J2 and J7 to one word and its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exp_platform.config.models import Acknowledgement
from exp_platform.decision.acknowledged import acknowledgement_of, counted
from exp_platform.status import CheckStatus, Trust

Row = Mapping[str, Any]

# The chi-square (srm_fixed) fails from the planned end on only; until then it says ok.
SRM_GATES = ("srm_assigned", "srm_analysed", "srm_fixed_assigned", "srm_fixed_analysed")
# With intent to treat, exposures matter only where the arms received each other's treatment.
ITT_GATES = ("variant_mismatch", "multi_variation_exposure")


def sample_ratio_failed(row: Row) -> bool:
    """True when a row of fct_experiment_statistical_validation costs the result its trust."""
    return row["status"] == CheckStatus.FAIL and row["check_name"] in SRM_GATES


def exposures_failed(row: Row, analysis_mode: str) -> bool:
    """True when a row of fct_experiment_exposure_quality_daily costs the result its trust in this analysis mode."""
    return row["status"] == CheckStatus.FAIL and (analysis_mode == "exposed" or row["check_name"] in ITT_GATES)


@dataclass(frozen=True)
class TrustVerdict:
    """The trust in one experiment's result; reasons are words, the gravest first."""

    trust: Trust
    reasons: tuple[str, ...]


def trust_of(
    quality: Iterable[Row],
    validation: Iterable[Row],
    analysis_mode: str,
    exploratory: tuple[str, ...] = (),
    acknowledged: Sequence[Acknowledgement] = (),
) -> TrustVerdict:
    """Trust from the rows of fct_experiment_exposure_quality_daily and fct_experiment_statistical_validation.

    `exploratory` holds the reasons for which the result is not the one that was planned: a caution, named first. A
    check that was acknowledged is a reason, named last, and costs no trust.
    """
    validation, quality = list(validation), list(quality)
    passed_over = sorted(
        {row["check_name"] for row in (*validation, *quality) if acknowledgement_of(row, acknowledged) is not None}
    )
    noted = tuple(f"acknowledged:{name}" for name in passed_over)
    fatal: dict[str, None] = {}
    doubts: dict[str, None] = dict.fromkeys(exploratory)
    for row in sorted(counted(validation, acknowledged), key=lambda r: (r["check_name"], r["metric_name"])):
        name = row["check_name"]
        if sample_ratio_failed(row):
            fatal[f"srm_failed:{name}"] = None
        elif row["status"] in (CheckStatus.FAIL, CheckStatus.WARN):
            subject = "" if row["metric_name"] == "all" else f":{row['metric_name']}"
            doubts[f"caution:{name}{subject}"] = None
    for row in sorted(counted(quality, acknowledged), key=lambda r: (r["check_name"], str(r["date"]))):
        name = row["check_name"]
        if exposures_failed(row, analysis_mode):
            fatal[f"quality_failed:{name}"] = None
        elif row["status"] in (CheckStatus.FAIL, CheckStatus.WARN):
            doubts[f"caution:{name}"] = None
    if fatal:
        return TrustVerdict(Trust.NOT_TRUSTED, (*fatal, *doubts, *noted))
    return TrustVerdict(Trust.CAUTION if doubts else Trust.TRUSTED, (*doubts, *noted))
