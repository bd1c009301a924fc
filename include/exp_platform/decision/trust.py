"""Can the result be believed? From the verdicts of J2 and J7 to one word and its reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exp_platform.config.models import Acknowledgement
from exp_platform.decision.acknowledged import SPOKE_UP, acknowledgement_of, counted
from exp_platform.status import CheckStatus, Trust

Row = Mapping[str, Any]

# The chi-square (srm_fixed) fails from the planned end on only; until then it says ok.
SRM_GATES = ("srm_assigned", "srm_analysed", "srm_fixed_assigned", "srm_fixed_analysed")
# With intent to treat, exposures matter only where the arms received each other's treatment.
ITT_GATES = ("variant_mismatch", "multi_variation_exposure")
# All of these tell of one cause, the gravest first: one of them is named.
SRM_CHECKS = (*SRM_GATES, "srm_by_day", "srm_by_segment")
# These look at the data of one metric: where it decides nothing, they are a mark on its row and cost no trust.
OF_ONE_METRIC = frozenset(
    {"share_with_value", "skewness", "outliers", "cap", "twyman", "novelty", "pretrends", "exposure_agreement"}
)


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


def touches_decision(row: Row, deciding: Collection[str]) -> bool:
    """True when the decision stands on what a check looked at; `deciding` are the primary metric and the guardrails."""
    return row["check_name"] not in OF_ONE_METRIC or row["metric_name"] in deciding


def trust_of(
    quality: Iterable[Row],
    validation: Iterable[Row],
    analysis_mode: str,
    deciding: Collection[str],
    exploratory: tuple[str, ...] = (),
    acknowledged: Sequence[Acknowledgement] = (),
    differing: Sequence[str] = (),
) -> TrustVerdict:
    """Trust from the rows of fct_experiment_exposure_quality_daily and fct_experiment_statistical_validation.

    `deciding` names the metrics on which the decision stands. `exploratory` holds the reasons for which the result is
    not the one that was planned: a caution, named first. A check that was acknowledged is a reason, named last, and
    costs no trust. `differing` names the metrics of which a second implementation finds other numbers: nothing can be
    trusted then, and no acknowledgement helps.
    """
    validation, quality = list(validation), list(quality)
    passed_over = sorted(
        {row["check_name"] for row in (*validation, *quality) if acknowledgement_of(row, acknowledged) is not None}
    )
    noted = tuple(f"acknowledged:{name}" for name in passed_over)
    fatal: dict[str, None] = dict.fromkeys(f"second_opinion_failed:{name}" for name in differing)
    doubts: dict[str, None] = dict.fromkeys(exploratory)
    spoke_up = [row for row in counted(validation, acknowledged) if row["status"] in SPOKE_UP]
    ratio = _sample_ratio(spoke_up)
    if ratio is not None and sample_ratio_failed(ratio):
        fatal[f"srm_failed:{ratio['check_name']}"] = None
    elif ratio is not None:
        doubts[f"caution:{ratio['check_name']}"] = None
    for row in sorted(spoke_up, key=lambda r: (r["check_name"], r["metric_name"])):
        name = row["check_name"]
        if name not in SRM_CHECKS and touches_decision(row, deciding):
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


def _sample_ratio(spoke_up: Iterable[Row]) -> Row | None:
    """The check that names a broken sample ratio: a failed gate before a warning, the assignment before the rest."""
    found = [row for row in spoke_up if row["check_name"] in SRM_CHECKS]
    return min(found, key=lambda r: (not sample_ratio_failed(r), SRM_CHECKS.index(r["check_name"])), default=None)
