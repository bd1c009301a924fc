"""Rules for days that can't be used and for acknowledged checks, each mistake as `key: sentence`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from exp_platform.config.key_rules import suggest
from exp_platform.config.models import Acknowledgement, Experiment, Metric
from exp_platform.config.models.unusable import DAILY_CHECKS, NEVER_ACKNOWLEDGED, RESULT_CHECKS, Unusable

ONE_DAY = timedelta(days=1)


def unusable_problems(experiment: Experiment, metrics: Mapping[str, Metric]) -> list[str]:
    """Every rule that the keys `exclude` and `acknowledge` of an experiment break."""
    if experiment.end_ts <= experiment.start_ts:
        return []  # no date lies in such a window, and its own rule says what is wrong
    used = [metrics[name] for name in _names(experiment) if name in metrics]
    return [
        *(line for i in range(len(experiment.exclude)) for line in _exclusion_problems(experiment, i, used)),
        *_everything_excluded(experiment),
        *(line for i, one in enumerate(experiment.acknowledge) for line in _acknowledged(experiment, i, one)),
    ]


def _names(experiment: Experiment) -> Iterable[str]:
    return dict.fromkeys((*experiment.metrics, *(g.metric for g in experiment.guardrails)))


def _exclusion_problems(experiment: Experiment, i: int, metrics: Sequence[Metric]) -> list[str]:
    one, key = experiment.exclude[i], f"exclude.{i}"
    problems = [*_unsaid(key, one.reason, one.by), *_no_dates(key, one.dates)]
    first, last = _span(experiment, one.what, metrics)
    before = [day for other in experiment.exclude[:i] if other.what == one.what for day in other.dates]
    for place, day in enumerate(one.dates):
        if not first <= day <= last:
            problems.append(
                f"{key}.dates: found {day}, but {one.what} of this experiment lie between {first} and {last}"
            )
        if day in before or day in one.dates[:place]:
            problems.append(f"{key}.dates: {day} is there twice for {one.what}")
    if one.what == "exposures" and experiment.assignment_source == "exposures":
        problems.append(
            f"{key}.what: found exposures, but assignment_source is exposures, so that they are the assignments: "
            "write what: assignments"
        )
    return problems


def _span(experiment: Experiment, what: Unusable, metrics: Sequence[Metric]) -> tuple[date, date]:
    """The first and the last UTC date on which such an event can count."""
    first, last = experiment.start_ts, experiment.end_ts
    if what == "outcomes":
        hours = [float(m.window.end_hours) for m in metrics if m.window.end_hours != "experiment"]
        whole = [experiment.end_ts - experiment.start_ts] if len(hours) < len(metrics) else []
        before = [timedelta(days=m.pre_period_days or experiment.pre_period_days) for m in metrics]
        first -= max([*before, *(timedelta(hours=h) for h in hours), *whole], default=timedelta())
        last += timedelta(hours=max(hours, default=0.0))
    return first.date(), (last - timedelta(microseconds=1)).date()


def _everything_excluded(experiment: Experiment) -> list[str]:
    first, last = _span(experiment, "assignments", ())
    dates = {first + k * ONE_DAY for k in range((last - first).days + 1)}
    kinds: tuple[Unusable, ...] = ("assignments", "exposures", "outcomes")
    return [
        f"exclude: every date of the experiment, {first} to {last}, is excluded for {what}: nothing is left to analyse"
        for what in kinds
        if dates <= set(experiment.excluded(what))
    ]


def _acknowledged(experiment: Experiment, i: int, one: Acknowledgement) -> list[str]:
    key = f"acknowledge.{i}"
    problems = [*_unsaid(key, one.reason, one.by), *_check_problems(key, experiment, one)]
    same = [other for other in experiment.acknowledge[:i] if other.check == one.check]
    for day in sorted({d for d in one.dates if one.dates.count(d) > 1 or any(d in o.dates for o in same)}):
        problems.append(f"{key}.dates: {day} is there twice for {one.check}")
    if not one.dates and any(other.metric in (None, one.metric) and not other.dates for other in same):
        problems.append(f"{key}.check: '{one.check}' is acknowledged twice for the same metric")
    return problems


def _check_problems(key: str, experiment: Experiment, one: Acknowledgement) -> list[str]:
    if one.check in NEVER_ACKNOWLEDGED:
        return [f"{key}.check: '{one.check}' can't be acknowledged: {NEVER_ACKNOWLEDGED[one.check]}"]
    known = (*DAILY_CHECKS, *RESULT_CHECKS)
    if one.check not in known:
        return [
            f"{key}.check: unknown check '{one.check}'{suggest(one.check, (*known, *NEVER_ACKNOWLEDGED))}; "
            f"allowed: {', '.join(sorted(known))}"
        ]
    if one.check in RESULT_CHECKS:
        return _result_check_problems(key, experiment, one)
    first, last = _span(experiment, "assignments", ())
    problems = []
    if one.metric is not None:
        problems.append(f"{key}.metric: found '{one.metric}', but {one.check} judges a day's logging, no metric")
    if not one.dates:
        problems.append(f"{key}.dates: missing; {one.check} judges each day for itself: name the days")
    if one.check != "outcome_volume":  # outcomes come in after the last assignment, too
        problems += [
            f"{key}.dates: found {day}, but {one.check} judges dates between {first} and {last}"
            for day in one.dates
            if not first <= day <= last
        ]
    return problems


def _result_check_problems(key: str, experiment: Experiment, one: Acknowledgement) -> list[str]:
    problems = []
    if one.dates:
        problems.append(f"{key}.dates: {one.check} judges the whole result, not a day; leave the dates out")
    if one.metric is not None and one.metric not in _names(experiment):
        names = list(_names(experiment))
        problems.append(
            f"{key}.metric: '{one.metric}' is no metric of this experiment{suggest(one.metric, names)}; "
            f"allowed: {', '.join(names)}"
        )
    return problems


def _unsaid(key: str, reason: str, by: str) -> list[str]:
    return [
        f"{key}.{name}: found {text!r}; must say {what}, for the memo shows it"
        for name, text, what in (("reason", reason, "why"), ("by", by, "who decided so"))
        if not text.strip()
    ]


def _no_dates(key: str, dates: Sequence[date]) -> list[str]:
    return [] if dates else [f"{key}.dates: found none, name at least one date"]
