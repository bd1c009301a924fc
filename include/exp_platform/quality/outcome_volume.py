"""J2's verdict on the arrival of outcomes: are a day's events missing, wholly or for the most part?

The number of events of a metric on a day is compared with an expected number. That is the smallest of four: the
highest of the seven days before, the highest of the seven days after, and the same weekday a week before and a week
after. Taking the smallest, ramps, slow ends and quiet weekends are no faults; taking the highest of seven, an outage of
several days does not hide itself. Days that failed are left out of the comparison. A day fails with fewer than half of
the expected events, when the difference is significant by the conditional binomial test of two Poisson counts. Both
counts are divided by `BURST` first, because one user's events of a day come together. The newest day has no later day
to confirm it, so it fails only with fewer than a tenth, and only before end_ts: afterwards outcomes end by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import scipy  # loads scipy.stats where it is first used: most stages and tasks never do

from exp_platform.config.models import QualitySettings
from exp_platform.quality.verdicts import Verdict
from exp_platform.status import CheckStatus

NAME = "outcome_volume"
SHARE = 0.5  # a day with a smaller share of the expected events fails
NEWEST_SHARE = 0.1  # likewise, for the newest day
BURST = 5.0  # events of one user on one day, a generous guess
REACH = 7  # days before and after that a day is compared with


@dataclass(frozen=True)
class _Day:
    metric: str
    events: int
    expected: float | None
    threshold: float | None
    p_value: float | None
    fails: bool


def outcome_verdicts(
    volume: Mapping[tuple[str, date], int],
    *,
    start: date,
    end: date,
    dt: date,
    settings: QualitySettings,
    excluded: Collection[date] = (),
) -> list[Verdict]:
    """One verdict for each date from start to dt with expected outcomes: that of the metric furthest off.

    `volume` maps metric_name and date to the number of events. Dates before start are used for comparison, never
    judged; `end` is the first date after the experiment. An `excluded` date is neither judged nor compared with.

    >>> volume = {("revenue", date(2026, 1, day)): 400 for day in range(1, 20)}
    >>> volume[("revenue", date(2026, 1, 9))] = 12
    >>> del volume[("revenue", date(2026, 1, 10))]
    >>> window = {"start": date(2026, 1, 5), "end": date(2026, 1, 29), "dt": date(2026, 1, 19)}
    >>> found = outcome_verdicts(volume, settings=QualitySettings(), **window)
    >>> [(v.date.day, v.observed, v.expected, v.threshold) for v in found if v.status == "fail"]
    [(9, 12.0, 400.0, 200.0), (10, 0.0, 400.0, 200.0)]
    """
    metrics = sorted({metric for metric, _ in volume})
    days = [day for day in _dates(start, dt) if day not in excluded]
    tests = len(days) * len(metrics)
    by_date: dict[date, list[_Day]] = {day: [] for day in days}
    for metric in metrics:
        known = [day for day in _dates(_first(volume, metric, start), dt) if day not in excluded]
        counts = {day: volume.get((metric, day), 0) for day in known}
        for day, found in _judge(metric, counts, days, end, tests, settings).items():
            by_date[day].append(found)
    return [_verdict(day, found) for day, found in by_date.items() if found]


def _judge(
    metric: str, counts: Mapping[date, int], days: Iterable[date], end: date, tests: int, settings: QualitySettings
) -> dict[date, _Day]:
    """Compare each date with its neighbours; leave out the dates that fail and compare again until no more fail."""
    failed: set[date] = set()
    while True:
        neighbours = {day: events for day, events in counts.items() if day not in failed}
        found = {
            day: _compare(metric, day, counts[day], neighbours, day < end, tests, settings)
            for day in days
            if day in counts
        }
        now = {day for day, result in found.items() if result.fails}
        if now <= failed:
            return found
        failed |= now


def _compare(
    metric: str,
    day: date,
    events: int,
    neighbours: Mapping[date, int],
    before_end: bool,
    tests: int,
    settings: QualitySettings,
) -> _Day:
    before = [neighbours[d] for k in range(1, REACH + 1) if (d := day - timedelta(k)) in neighbours]
    after = [neighbours[d] for k in range(1, REACH + 1) if (d := day + timedelta(k)) in neighbours]
    week = [neighbours[d] for d in (day - timedelta(7), day + timedelta(7)) if d in neighbours]
    if not before or not (after or before_end):
        return _Day(metric, events, None, None, None, False)
    # The newest day is compared with the day before alone, because the highest of the week may be many days back.
    levels = [max(before), max(after)] if after else [before[0]]
    expected = float(min(levels + week))
    threshold = expected * (SHARE if after else NEWEST_SHARE)
    tail = scipy.stats.binom.cdf(events / BURST, round((events + expected) / BURST), 0.5)
    p_value = min(1.0, float(tail) * tests)
    return _Day(metric, events, expected, threshold, p_value, events < threshold and p_value < settings.p_value)


def _verdict(day: date, found: list[_Day]) -> Verdict:
    """The verdict of a date: that of the metric furthest below its expected number."""
    worst = min(found, key=lambda d: (not d.fails, d.events / d.expected if d.expected else 1.0, d.metric))
    observed = float(worst.events)
    if worst.expected is None:
        detail = f"{worst.events:,} events of {worst.metric}; nothing to compare with yet"
        return Verdict(day, NAME, observed, None, None, None, CheckStatus.OK, detail)
    detail = f"{worst.events:,} events of {worst.metric}, about {worst.expected:,.0f} expected from the days around"
    failing = [d.metric for d in found if d.fails]
    if len(failing) > 1:
        detail += f"; too few of {', '.join(failing)}"
    status = CheckStatus.FAIL if failing else CheckStatus.OK
    return Verdict(day, NAME, observed, worst.expected, worst.threshold, worst.p_value, status, detail)


def _dates(first: date, last: date) -> list[date]:
    return [first + timedelta(k) for k in range((last - first).days + 1)]


def _first(volume: Mapping[tuple[str, date], int], metric: str, start: date) -> date:
    return min(start, *(day for name, day in volume if name == metric))
