"""Words and numbers of the memo: one sentence for each reason code, and one format for each kind of number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from exp_platform.memo import names
from exp_platform.status import Decision, Trust

DECISIONS = {
    Decision.SHIP: "Ship",
    Decision.DO_NOT_SHIP: "Do not ship",
    Decision.STOP: "Stop",
    Decision.KEEP_RUNNING: "Keep running",
    Decision.INCONCLUSIVE: "Inconclusive: a person decides",
    Decision.INSUFFICIENT_DATA: "Not enough data",
    Decision.INVALID: "Invalid",
}
TRUSTS = {Trust.TRUSTED: "Trusted", Trust.CAUTION: "Caution", Trust.NOT_TRUSTED: "Not trusted"}

PLAN_WAS_CHANGED = "anytime-valid (also after the planned end, because the plan was changed after the start)"
INTERVALS = {
    "anytime": "anytime-valid (may be looked at every day)",
    "fixed": "fixed-horizon (the planned end is reached)",
}

_REASONS = {
    "srm_failed": "The arms do not have the sizes that the registry promises ({subject}).",
    "second_opinion_failed": "A second implementation computes other numbers of {subject} from the raw files.",
    "quality_failed": "The exposures can't be trusted: {subject}.",
    "caution": "Caution: {subject}.",
    "acknowledged": "{subject}: acknowledged, so that it does not count.",
    "pretrends_failed": "The arms did not run in parallel before the rollout.",
    "pretrends_not_tested": "Parallel trends before the rollout could not be tested, which is not a pass.",
    "guardrail_failed": "The guardrail {subject} is harmed by more than its margin.",
    "guardrail_inconclusive": "Not every guardrail is shown to be safe.",
    "inconclusive": "The guardrail {subject} is inconclusive.",
    "guardrails_passed": "Every guardrail passed.",
    "primary_changed": "The primary metric was changed after the start, from {subject}: the result is exploratory, and "
    "only a new experiment can confirm it.",
    "primary_better": "The primary metric is significantly better.",
    "primary_worse": "The primary metric is significantly worse.",
    "flat": "The whole interval is inside the practical threshold: there is no difference that matters.",
    "not_significant": "The primary metric is not significantly different yet.",
    "before_planned_end": "The planned end is not reached.",
    "underpowered": "The planned end is reached, and the interval is too wide to say that there is no difference.",
    "no_primary": "The registry names no primary metric.",
    "below_practical_threshold": "The interval is not wholly beyond the practical threshold, as the policy asks.",
    "caution_holds_back": "The policy does not ship with open doubts.",
    "before_min_days": "The policy's shortest run is not reached.",
    "no_practical_threshold": "The contract has no practical threshold, so that no interval is narrow enough.",
    "best": "{subject} is significantly better than the other arms that ship.",
    "not_told_apart": "The arms that ship are not shown to differ from each other: {subject}.",
    "ship": "{subject} ships.",
    "keep_running": "{subject} keeps running.",
    "do_not_ship": "{subject} does not ship.",
    "stop": "{subject} stops.",
    "invalid": "{subject} is invalid.",
    "arms_differ": "The arms come to different ends.",
    "insufficient_data": "There is not enough data for the primary metric.",
    "failed_pretrends": "The arms did not run in parallel before the rollout.",
    "not_applicable": "The deciding method does not apply to the primary metric.",
    "arm_below_min_units": "An arm has fewer units with a value than the registry asks for.",
    "too_few_events": "Fewer than 10 units of the smaller arm are expected to have, or to lack, the event.",
    "source_absent": "No outcome event has the metric's source as its name, so that there is nothing to measure.",
    "no_variance": "Units do not differ within the arms, so that nothing shows the error.",
    "spread_beyond_precision": "Units differ by less than a millionth of their size, which sums cannot show: take "
    "a constant off the values.",
    "not_finite": "The values are too large to compute with.",
    "no_relative_effect": "There is no effect relative to control.",
    "control_mean_near_zero": "Control's mean cannot be told from 0, so that nothing is relative to it.",
    "control_mean_near_zero_until_the_end": "Control's mean is too near 0 for a relative interval that may be read "
    "every day: until the planned end there is none.",
    "covariate_widens_the_interval": "The covariate suits the arms together, and makes this arm's interval wider.",
    "covariate_constant": "The covariate {subject} is the same for all units and is left out.",
    "covariate_repeats_others": "The covariate {subject} says nothing that the ones before it do not, and is left out.",
    "covariate_without_gain": "The covariate {subject} takes away less variance than it costs, and is left out.",
    "few_units_with_denominator": "An arm has too few units with anything to divide by.",
    "no_usable_covariate": "There is no usable covariate: CUPED is the plain estimate.",
    "unit_level_errors": "Errors are between units; a rollout by store or region needs `cluster`.",
    "bound_within_margin": "Harm beyond the margin is ruled out.",
    "bound_beyond_margin": "Harm beyond the margin cannot be ruled out yet.",
    "harm_beyond_margin": "Harm is significant, and the estimate lies beyond the margin.",
    "pre_period_shorter_than_window": "The period before assignment is shorter than the metric's window.",
    "no_pre_period": "There is no period before assignment.",
    "did_not_for_quantiles": "Difference-in-differences is not defined for quantiles.",
    "zero_denominator": "There is nothing to divide by.",
    "few_clusters": "Fewer than 30 clusters, or than 10 in an arm: a few clusters carry the errors.",
    "too_few_clusters": "An arm has fewer than 5 clusters, or too few on each cohort date to show how they differ.",
    "cohort_dates_with_one_cluster": "On some cohort dates an arm lies in one cluster, whose error others stand for.",
    "no_events_after": "An arm has no event, or only zeros, in the metric's window.",
    "no_events_before": "An arm has no event, or only zeros, in the period before that the window is compared with.",
    "no_unit_before_and_after": "In an arm no unit is seen before and after: among units whose window has closed none "
    "has a value in both periods. Repeated cross-sections are beyond this model.",
    "single_day": "There is one day with values before the change: two waves show no trend that could be tested.",
    "singular_covariance": "The days before the change do not vary independently, so that no trend can be tested.",
    "too_few_units": "There are too few units for a test of the days before the change.",
    "fewer_clusters_than_days": "There are fewer clusters than days before the change.",
    "few_exposed_units": "The treatment reached too few users for an effect on each of them.",
    "exposure_not_for_ratios": "A ratio of all users is not made of those of the exposed and the others.",
    "no_daily_panel": "The primary metric has no values by day before the change.",
    "cohort_dates_without_both_arms": "Cohort dates without both arms are left out.",
    "cohort_dates_too_uneven": "Most treated units came on cohort dates with hardly any control to compare them with.",
    "quantiles_have_no_series": "A quantile has no series of days: the chart shows what runs published.",
    "did_has_no_series": "Difference in differences has no series of days: the chart shows what runs published.",
    "no_point_of_that_day": "The series of days has no value for that day.",
    "not_in_the_table": "The series does not hold this metric yet: the chart shows what runs published.",
    "strata_left_out": "The days are compared without strata, unlike the deciding result.",
    "data_or_settings_of_that_day": "On some days a run read other data or had other settings.",
    "quantile_cap": "All days have the newest cap, while the run of an earlier day had its own.",
    "values_of_2_32_or_more": "Very large values are added up in another order than a run of that day did.",
    "quantile_out_of_reach": "The sample is too small, or of too few days, for this quantile.",
}


def sentence(reason: str, titles: Mapping[str, str] | None = None) -> str:
    """A reason code as a sentence; an unknown code is shown in words. `titles` are the metrics' names for people."""
    word, _, subject = reason.partition(":")
    template = _REASONS.get(word)
    return template.format(subject=_subject(word, subject, titles or {})) if template else reason.replace("_", " ")


def _subject(word: str, subject: str, titles: Mapping[str, str]) -> str:
    """The subject of a reason in words: a check by its finding, a metric by its title."""
    if word in ("quality_failed", "caution"):
        check, _, metric = subject.partition(":")
        return names.check_says(check) + (f" (about {titles.get(metric, metric)})" if metric else "")
    if word == "srm_failed":
        return names.check_name(subject)
    if word in (
        "second_opinion_failed",
        "guardrail_failed",
        "inconclusive",
        "covariate_constant",
        "covariate_without_gain",
    ):
        return titles.get(subject, subject.replace(":", ", "))
    return subject.replace(":", ", ")


def reason_lines(reasons: Iterable[str], titles: Mapping[str, str] | None = None) -> list[str]:
    """A decision's reasons as sentences in order; several warnings of one check share a line."""
    lines: dict[str, list[str]] = {}
    for reason in reasons:
        word, _, rest = reason.partition(":")
        check, _, subject = rest.partition(":")
        if word == "caution":
            lines.setdefault(f"caution:{check}", []).append(subject)
        else:
            lines.setdefault(reason, [])
    known = titles or {}
    return [sentence(reason, known) if not found else _doubt(reason, found, known) for reason, found in lines.items()]


def _doubt(reason: str, subjects: list[str], titles: Mapping[str, str]) -> str:
    about = ", ".join(titles.get(subject, subject) for subject in subjects if subject)
    return sentence(reason) if not about else f"{sentence(reason)[:-1]} (about {about})."


def sentences(reasons: str) -> str:
    """The comma-separated reason codes of a results row as sentences."""
    return " ".join(sentence(word) for word in reasons.split(", ") if word)


def interval_in_force(interval: str, planned_end_reached: bool) -> str:
    """The interval in force by its name, and why it is the one."""
    return PLAN_WAS_CHANGED if interval == "anytime" and planned_end_reached else INTERVALS[interval]


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return "–" if value is None else f"{value:.{digits}%}"


def moment(value: datetime | date | None) -> str:
    """A time in UTC to the minute, or a date."""
    if value is None:
        return "–"
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else value.isoformat()


def weekly_cycles(days: int) -> str:
    """Whole weeks in which users were assigned: people behave differently on different days of the week.

    >>> weekly_cycles(28)
    '28 days, 4 whole weeks'
    >>> weekly_cycles(10)
    '10 days, 1 whole week and 3 days: not every day of the week counts alike'
    """
    weeks, rest = divmod(days, 7)
    whole = _count(weeks, "whole week")
    if days == 0:
        return "none yet"
    if not rest:
        return f"{_count(days, 'day')}, {whole}"
    beside = f"{whole} and {_count(rest, 'day')}" if weeks else "less than a week"
    return f"{_count(days, 'day')}, {beside}: not every day of the week counts alike"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def labels(known: Mapping[Any, str], key: str) -> str:
    """The label of a word; a word without a label is shown as it is."""
    return known.get(key, key)
