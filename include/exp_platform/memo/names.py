"""Names for people: checks, roles, methods and statuses as words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

# Each check: its name in a sentence, and what it says when it speaks up.
CHECKS: dict[str, tuple[str, str]] = {
    "srm_assigned": ("sample ratio of the assigned users", "the arms do not have the promised shares of users"),
    "srm_analysed": ("sample ratio of the analysed users", "the analysed arms do not have the promised shares"),
    "srm_fixed_assigned": (
        "sample ratio of the assigned users at the planned end",
        "the arms do not have the promised shares of users",
    ),
    "srm_fixed_analysed": (
        "sample ratio of the analysed users at the planned end",
        "the analysed arms do not have the promised shares",
    ),
    "srm_by_day": ("sample ratio of single days", "on some days the arms do not have the promised shares"),
    "srm_by_segment": ("sample ratio of segments", "in some segments the arms do not have the promised shares"),
    "aa_pre_period": ("comparison before the experiment", "the arms already differed before the experiment"),
    "share_with_value": ("share of users with a value", "the experiment changes who has a value at all"),
    "skewness": ("skewness", "a few large values may carry the result: there are too few users for such a spread"),
    "outliers": ("outliers", "a handful of users hold a large part of the spread"),
    "cap": ("cap", "a cap came out as 0 and was not applied"),
    "twyman": ("plausible size", "the effect is far larger than this metric has seen: more often a fault than a find"),
    "novelty": ("steadiness since exposure", "the effect changes with the days since exposure"),
    "exposure_agreement": (
        "agreement of exposed and assigned users",
        "the effect on exposed users does not agree with that on all assigned ones",
    ),
    "pretrends": ("parallel movement before", "the arms did not move in parallel before"),
    "clusters": ("clusters", "users lack the attribute by which the clusters are told apart"),
    "maturity": ("closed windows", "windows are still open"),
    "power": ("smallest effect that can be seen", "small effects can't be seen"),
    "planned_users": ("planned users", "the planned users have not come yet"),
    "exposure_logging": ("exposure logging", "exposures are missing"),
    "pre_assignment_exposure": ("exposure before assignment", "users were exposed before they were assigned"),
    "variant_mismatch": ("exposure to the assigned arm", "users saw another arm than the one assigned"),
    "multi_variation_exposure": ("exposure to one arm", "users saw several arms"),
    "exposure_outside_window": ("exposure in time", "users were exposed only outside the window"),
    "conflicted_assignment": ("one assignment for each user", "users were assigned to several arms"),
    "source_absent": ("events of the metric", "no outcome event has the metric's source as its name"),
    "duplicate_events": ("repeated events", "many events of its sources repeat another and are counted once"),
    "outcome_volume": ("volume of outcome events", "outcome events are missing or too many"),
}
INFORMATION = frozenset({"power", "planned_users", "maturity"})  # checks that never give a verdict
# The localisers of a broken sample ratio, and the chi-square before the planned end, never fail a result by themselves.
LOCALISERS = frozenset({"srm_by_day", "srm_by_segment"})

METHODS = {
    "ab": "plain comparison",
    "cuped": "adjusted by behaviour before (CUPED)",
    "did": "difference in differences",
    "itt": "all assigned users",
    "exposed": "exposed users",
    "complier": "each user reached",
    "diluted": "exposed, diluted to all",
}
STATUSES = {
    "ok": "answered",
    "insufficient_data": "not enough data",
    "failed_pretrends": "not parallel before",
    "not_applicable": "does not apply",
    "pass": "held",
    "fail": "broken",
    "inconclusive": "not shown yet",
    "passed": "parallel",
    "failed": "not parallel",
    "warn": "warns",
}
ROLES = {"primary": "primary", "secondary": "secondary", "guardrail": "guardrail"}


def check_name(name: str) -> str:
    """A check as it is called in a sentence; an unknown one by its words."""
    return CHECKS[name][0] if name in CHECKS else name.replace("_", " ")


def check_says(name: str) -> str:
    """The finding of a check that spoke up, as a half-sentence."""
    return CHECKS[name][1] if name in CHECKS else f"the check {name.replace('_', ' ')} spoke up"


def status(word: str) -> str:
    """A status in words."""
    return STATUSES.get(word, word.replace("_", " "))


def titles(metrics: Any) -> Mapping[str, str]:
    """Metric name -> title."""
    return {metric.name: metric.title_in_force for metric in metrics}


def segment(text: str) -> str:
    """A segment `dimension=value` in words; `all` is everyone.

    >>> segment("user_type=new"), segment("all")
    ('user type new', 'all users')
    """
    if text == "all":
        return "all users"
    dimension, _, value = text.partition("=")
    return f"{dimension.replace('_', ' ')} {value}"


def day(text: str | None) -> str:
    """An ISO date as people write it; other text as it is.

    >>> day("2026-02-15")
    '15 Feb 2026'
    """
    if text is None:
        return "–"
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{found.day} {found:%b %Y}"
