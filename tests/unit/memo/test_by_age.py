"""Effects by days since exposure: groups of one age are pooled, and the verdict on novelty stands below."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from tests.memo_kinds import KINDS, RUN, small_win

from exp_platform.memo.blocks import Chart, Memo, Section, Text
from exp_platform.memo.content import memo_content
from exp_platform.memo.render import records
from exp_platform.memo.sections.by_age import ages
from exp_platform.results.checks import check_row
from exp_platform.results.series_points import AgePoint, AgeSeries
from exp_platform.status import CheckStatus

START = date(2026, 1, 1)


def point(days: float, effect: float | None, half: float = 0.2) -> AgePoint:
    low, high = (None, None) if effect is None else (effect - half, effect + half)
    return AgePoint(START + timedelta(days=int(days)), days, effect, low, high, "ok")


def section_of(**changes: Any) -> Section | None:
    answers, plan = small_win()
    memo: Memo = records(memo_content(replace(answers, **changes), plan, RUN))
    return next((section for section in memo.sections if section.key == "by-age"), None)


def test_groups_of_one_age_are_pooled_by_their_precision() -> None:
    found = ages([point(6.5, 1.0, 0.1), point(7.0, 1.0), point(7.0, 2.0), point(7.0, 9.0, 2.0), point(0.5, None)])
    assert list(found) == [6, 7]
    middle, low, high = found[7]
    weights = (25.0, 25.0, 0.25)
    assert middle == pytest.approx((25 * 1 + 25 * 2 + 0.25 * 9) / sum(weights))
    assert (low, high) == (pytest.approx(middle - sum(weights) ** -0.5), pytest.approx(middle + sum(weights) ** -0.5))


def test_the_primary_metric_alone_is_drawn_where_it_has_an_effect_by_age() -> None:
    both = [AgeSeries(m, "treatment", True, (point(1, 0.1), point(4, 0.4))) for m in ("revenue", "conversion")]
    section = section_of(ages=both)
    assert section is not None and section.title == "Effect by days since assignment"
    (chart,) = [block for block in section.blocks if isinstance(block, Chart)]
    assert chart.title == "Conversion rate: effect per day by days since assignment"
    assert chart.days == ("1", "2", "3", "4") and chart.lines[0].values == (
        pytest.approx(0.1),
        None,
        None,
        pytest.approx(0.4),
    )


def test_a_share_has_no_effect_by_age_so_that_the_other_metrics_are_drawn() -> None:
    (section,) = [s for s in records(KINDS["early"]()).sections if s.key == "by-age"]
    (chart,) = [block for block in section.blocks if isinstance(block, Chart)]
    assert chart.title == "Revenue per user: effect per day by days since assignment"
    assert chart.days == ("0", "1", "2", "3", "4") and None not in chart.lines[0].values
    assert "Shares are left out" in section.blocks[-1].text


def test_where_every_window_is_closed_the_effect_is_drawn_by_day_of_arrival() -> None:
    section = section_of()
    assert section is not None and section.title == "Effect by day of arrival"
    chart = section.blocks[0]
    assert isinstance(chart, Chart) and chart.days[0] == "2026-01-03"
    assert chart.alt.endswith("at 21 Jan 2026")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (CheckStatus.OK, "No sign that it changes with the days (p = 0.0004)."),
        (
            CheckStatus.WARN,
            "The effect changes with the days since exposure (p = 0.0004): +30 points among users of few days, "
            "+10 points among those of many.",
        ),
    ],
)
def test_the_verdict_on_novelty_stands_below_the_chart(status: CheckStatus, said: str) -> None:
    series = AgeSeries("conversion", "treatment", True, (point(1, 0.3), point(9, 0.1)))
    where = {"metric": "conversion", "variant": "treatment"}
    check = check_row("novelty", status, p_value=0.0004, observed=0.1, expected=0.3, **where)
    section = section_of(ages=[series], checks=[check])
    assert section is not None and Text(said) in section.blocks


def test_a_rollout_has_no_such_section_and_an_invalid_result_no_colour() -> None:
    keys = {name: [s.key for s in records(KINDS[name]()).sections] for name in ("rollout", "srm")}
    assert "by-age" not in keys["rollout"] and "by-age" in keys["srm"]
    (section,) = [s for s in records(KINDS["srm"]()).sections if s.key == "by-age"]
    charts = [block for block in section.blocks if isinstance(block, Chart)]
    assert charts and all(chart.lines[0].style == 6 and "no effect" in chart.title for chart in charts)
