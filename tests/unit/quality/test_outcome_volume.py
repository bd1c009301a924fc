"""A missing day of outcomes fails; ramps, weekends, slow ends and thin metrics do not."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from exp_platform.config.models import QualitySettings
from exp_platform.quality.outcome_volume import outcome_verdicts
from exp_platform.status import CheckStatus

START = date(2026, 1, 5)


def volume(levels, metric="revenue", first=0):
    """Events by day, the first `first` days after the start."""
    return {(metric, START + timedelta(first + i)): int(n) for i, n in enumerate(levels) if n}


def failed_days(events, days=28, dt=None):
    found = outcome_verdicts(
        events,
        start=START,
        end=START + timedelta(days),
        dt=START + timedelta(days - 1 if dt is None else dt),
        settings=QualitySettings(),
    )
    return [(v.date - START).days for v in found if v.status is CheckStatus.FAIL]


def test_a_steady_stream_turns_nothing():
    assert failed_days(volume([1000] * 28)) == []


@pytest.mark.parametrize("outage", [[12], [12, 13], list(range(10, 16)), [5, 20]])
def test_a_missing_day_or_several_fail_and_only_they(outage):
    assert failed_days(volume([0 if day in outage else 1000 for day in range(28)])) == outage


def test_half_a_day_missing_is_the_border():
    assert failed_days(volume([1000] * 12 + [400] + [1000] * 15)) == [12]
    assert failed_days(volume([1000] * 12 + [600] + [1000] * 15)) == []


def test_the_newest_day_fails_when_next_to_nothing_arrived():
    assert failed_days(volume([1000] * 27)) == [27]
    assert failed_days(volume([1000] * 27 + [300])) == []  # late events may still come


def test_ramps_and_slow_ends_are_no_fault():
    ramp = [100 * (day + 1) for day in range(14)]
    assert failed_days(volume(ramp + ramp[::-1])) == []
    assert failed_days(volume([1000, 500, 250, 120, 60, 30, 15]), days=5, dt=6) == []


def test_quiet_weekends_are_no_fault():
    week = [1000, 1000, 1000, 1000, 1000, 150, 150]
    assert failed_days(volume(week * 5, first=-7)) == []


def test_the_first_day_is_judged_when_users_have_a_history():
    assert failed_days(volume([1000] * 7 + [0] + [1000] * 27, first=-7)) == [0]


def test_a_thin_metric_may_have_an_empty_day():
    assert failed_days(volume([9] * 12 + [0] + [9] * 15)) == []


def test_one_metric_missing_fails_the_day_and_is_named():
    events = volume([5000] * 28, "sessions") | volume([500] * 12 + [0] + [500] * 15)
    found = outcome_verdicts(
        events, start=START, end=START + timedelta(28), dt=START + timedelta(27), settings=QualitySettings()
    )
    failing = [v for v in found if v.status is CheckStatus.FAIL]
    assert [(v.date - START).days for v in failing] == [12]
    assert "revenue" in failing[0].detail


def test_nothing_is_expected_after_the_end_beyond_what_comes():
    assert failed_days(volume([1000] * 14 + [400, 100, 10]), days=14, dt=20) == []


def test_no_healthy_seed_raises_an_alarm():
    def one(seed, level):
        draw = np.random.default_rng(seed)
        active = draw.poisson(level * np.array([1, 1, 1, 1, 0.95, 0.75, 0.7] * 4))
        return volume([draw.integers(1, 6, n).sum() for n in active])

    assert [(seed, level) for seed in range(80) for level in (4, 40, 400) if failed_days(one(seed, level))] == []


def test_an_excluded_day_is_neither_judged_nor_compared_with():
    events = volume([0 if day == 10 else 100 if day == 17 else 1000 for day in range(28)])
    window = {"start": START, "end": START + timedelta(28), "dt": START + timedelta(27)}
    found = outcome_verdicts(events, **window, settings=QualitySettings(), excluded=[START + timedelta(10)])
    assert START + timedelta(10) not in {verdict.date for verdict in found}
    assert [(v.date - START).days for v in found if v.status is CheckStatus.FAIL] == [17]
