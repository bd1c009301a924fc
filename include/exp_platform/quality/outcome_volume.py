"""J2's verdict on the arrival of outcomes: is a day missing, or most of it? Numbers in, verdicts out.

A day's events of a metric are compared with what its neighbours lead one to expect: the smallest of the highest of
the seven days before, the highest of the seven days after, and the same weekday a week before and after. The smallest,
so that ramps, slow ends and quiet weekends are no faults; the highest of seven, so that an outage of several days does
not hide itself. A day that failed is no neighbour. Fewer than half of the expected events fail, where the difference
is significant: the conditional binomial test of two Poisson counts, after both are divided by `BURST`, since one
user's events of one day come together. Nothing follows the newest day that could confirm it, so only a tenth fails
there, and only before end_ts: afterwards outcomes end by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from scipy import stats

from exp_platform.config.models import QualitySettings
from exp_platform.quality.verdicts import Verdict
from exp_platform.status import CheckStatus

NAME = "outcome_volume"
SHARE = 0.5  # of the expected events; below it a day is missing
NEWEST_SHARE = 0.1
BURST = 5.0  # events of one user on one day, generously
REACH = 7


@dataclass(frozen=True)
class _Day:
    metric: str
    events: int
    expected: float | None
    threshold: float | None
    p_value: float | None
    fails: bool


def outcome_verdicts(
    volume: Mapping[tuple[str, date], int], *, start: date, end: date, dt: date, settings: QualitySettings
) -> list[Verdict]:
    """One verdict for each date from start to dt on which outcomes are expected: that of the metric furthest off.

    `volume` holds events by metric_name and date, also before start where there are any (they are compared with, never
    judged); `end` is the first date after the experiment.

    >>> volume = {("revenue", date(2026, 1, day)): 400 for day in range(1, 20)}
    >>> volume[("revenue", date(2026, 1, 9))] = 12
    >>> del volume[("revenue", date(2026, 1, 10))]
    >>> window = {"start": date(2026, 1, 5), "end": date(2026, 1, 29), "dt": date(2026, 1, 19)}
    >>> found = outcome_verdicts(volume, settings=QualitySettings(), **window)
    >>> [(v.date.day, v.observed, v.expected, v.threshold) for v in found if v.status == "fail"]
    [(9, 12.0, 400.0, 200.0), (10, 0.0, 400.0, 200.0)]
    """
    metrics = sorted({metric for metric, _ in volume})
    days = _dates(start, dt)
    tests = len(days) * len(metrics)
    by_date: dict[date, list[_Day]] = {day: [] for day in days}
    for metric in metrics:
        counts = {day: volume.get((metric, day), 0) for day in _dates(_first(volume, metric, start), dt)}
        for day, found in _judge(metric, counts, days, end, tests, settings).items():
            by_date[day].append(found)
    return [_verdict(day, found) for day, found in by_date.items() if found]


def _judge(
    metric: str, counts: Mapping[date, int], days: Iterable[date], end: date, tests: int, settings: QualitySettings
) -> dict[date, _Day]:
    """Dates that fail leave the neighbourhood of the others, until no more fail."""
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
    # The newest day is compared with the day before alone: the highest of a week may be long gone.
    levels = [max(before), max(after)] if after else [before[0]]
    expected = float(min(levels + week))
    threshold = expected * (SHARE if after else NEWEST_SHARE)
    tail = stats.binom.cdf(events / BURST, round((events + expected) / BURST), 0.5)
    p_value = min(1.0, float(tail) * tests)
    return _Day(metric, events, expected, threshold, p_value, events < threshold and p_value < settings.p_value)


def _verdict(day: date, found: list[_Day]) -> Verdict:
    """The metric furthest below its expectation speaks for the date."""
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
