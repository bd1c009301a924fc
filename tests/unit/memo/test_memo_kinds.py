"""Twelve kinds of memo: the facts of their first screens, and nothing that can be read as a win without trust."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import pytest
from tests.memo_kinds import HARMLESS, HOSTILE, KINDS, RUN, named, rollout, small_win
from tests.unit.memo.test_memo import Page, words_of

from exp_platform.memo import names
from exp_platform.memo.blocks import Bullets, Chart, FirstScreen, Heading, to_plain, to_records
from exp_platform.memo.content import memo_content
from exp_platform.memo.render import records, to_html, to_json, to_markdown
from exp_platform.results.series_points import EffectPoint, EffectSeries

HEADS_OF_THREE = ["blue: Ship", "green: Inconclusive: a person decides"]
RENDER = {"html": to_html, "md": to_markdown, "json": to_json}


@cache
def content(name: str) -> dict:
    return KINDS[name]()


def first(name: str) -> FirstScreen:
    return records(content(name)).first


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("win", "Ship treatment"),
        ("loss", "Do not ship"),
        ("flat", "Do not ship"),
        ("underpowered", "Undecided"),
        ("early", "Keep running"),
        ("srm", "Invalid"),
        ("broken_exposure", "Invalid"),
        ("guardrail_failed", "Stop"),
        ("failed_pretrends", "Invalid"),
        ("three_arms", "Ship blue"),
        ("rollout", "Ship treatment"),
        ("blocked", "Blocked since 5 Feb 2026"),
    ],
)
def test_the_first_word_is_the_decision(name: str, word: str):
    assert first(name).word == word
    assert first(name).next_step.endswith(".") and first(name).guardrails


@pytest.mark.parametrize("name", ["win", "srm", "rollout", "three_arms"])
def test_the_records_survive_the_way_through_json(name: str):
    again = json.loads(to_json(content(name)))
    assert records(again) == records(content(name)) and to_html(again) == to_html(content(name))
    assert to_plain(to_records(content(name)["memo"])) == again["memo"]


@pytest.mark.parametrize("name", ["srm", "broken_exposure", "failed_pretrends", "blocked"])
def test_where_trust_is_broken_nothing_can_be_read_as_a_win(name: str):
    page = to_html(content(name))
    text = words_of(page)
    shown = text if name != "blocked" else text[: text.index("Why this decision")]
    for word in ("rose by", "better", "an improvement", "✓", "Roll treatment out", "conclusive", "first clear"):
        assert word not in shown, word
    if name != "blocked":
        assert 'class="interval better"' not in page and 'class="row better"' not in page
        assert "may be read as an effect" in text


def test_a_stopped_arm_is_told_by_the_guardrail_that_stops_it():
    arm = first("guardrail_failed").arms[0]
    assert arm.sentence.startswith("Page latency rose by 12")
    assert "a harm" in arm.sentence and "a rise of 5% is allowed" in arm.sentence
    assert arm.picture is not None and arm.picture.marks[0].at == 0.05


def test_the_arms_of_one_experiment_share_an_axis_that_clips_none_of_them():
    pictures = [arm.picture for arm in first("three_arms").arms if arm.picture]
    assert len(pictures) == 2 and len({picture.reach for picture in pictures}) == 1
    assert pictures[0].reach is not None
    low, high = pictures[0].reach
    assert all(low <= picture.low and picture.high <= high for picture in pictures)


def test_the_next_step_of_an_underpowered_experiment_says_how_many_users_it_takes():
    step = first("underpowered").next_step
    assert re.match(r"Can see [\d.]+ points, you care about 0.5: needs \d+ times the users\.", step)


def test_an_early_look_says_that_the_precision_is_not_within_the_plan():
    assert "Not within the plan" in first("early").next_step
    assert first("early").next_due == "next due 7 Jan 2026, 00:00 UTC"
    assert first("win").next_due == "no further memo is due"


def test_users_too_many_in_one_arm_are_told_once_with_their_factor_and_their_first_day():
    because = first("srm").because
    assert re.match(r"1\.\d times as many users in control as planned, since \d+ Jan 2026\.", because)
    assert content("srm")["answer"]["reasons"] == ["srm_failed:srm_assigned"]


def test_lost_exposures_are_told_with_their_first_day():
    because = first("broken_exposure").because
    assert because.startswith("Exposures are missing on 3 of 20 days, first on 8 Jan 2026: 55.00%")


def test_trends_that_differ_are_told_once():
    text = " ".join(content("failed_pretrends")["answer"]["sentences"])
    assert "did not run in parallel" in text and "move in parallel" not in text


def test_a_guardrail_of_a_rollout_whose_trends_were_not_tested_is_not_shown_to_be_safe():
    memo = records(rollout("passed", tested=("conversion",)))
    assert memo.first.word == "Undecided" and memo.first.guardrails == "? Page latency not shown yet"
    (section,) = [section for section in memo.sections if section.key == "guardrails"]
    assert "Parallel trends before the rollout could not be tested" in section.blocks[0].rows[0].sentence


def test_a_blocked_memo_shows_no_number_above_the_fold():
    assert first("blocked").arms == () and "rows have no user_id" in first("blocked").because


def test_a_memo_stays_far_below_its_limit_of_500_kb():
    assert max(len(to_html(content(name)).encode()) for name in KINDS) < 100_000


@pytest.mark.parametrize("suffix", ["html", "md", "json"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_name_however_hostile_breaks_out_of_its_place(hostile: str, suffix: str):
    page = RENDER[suffix](named(hostile))
    assert not set(page) & set("\u202e\u2066\u2069\u200f\x07")
    if suffix == "html":
        Page(page)
        assert "<script>" not in page and "<img" not in page
    elif suffix == "md":
        assert "<script>" not in page and "<img" not in page
        assert len([line for line in page.splitlines() if line.startswith("# ")]) == 1
        assert all(line.startswith(("|", "#", "-", "**")) or "|" not in unescaped(line) for line in page.splitlines())
    else:
        assert json.loads(page)["experiment"]["name"] == hostile


def unescaped(line: str) -> str:
    """The characters of a Markdown line that no backslash takes the meaning from."""
    return re.sub(r"\\.", "", line)


def test_letters_of_right_to_left_scripts_and_emoji_stay_as_they_are():
    assert HARMLESS in words_of(to_html(named(HARMLESS)))


def point(day: date, effect: float, width: float) -> EffectPoint:
    ends = (effect - width, effect + width, effect - 1.5 * width, effect + 1.5 * width)
    return EffectPoint(day, effect, *ends, "anytime", 900, 900, 0.1, 0.1 + effect, "ok", "")


def effect_chart(series: EffectSeries) -> Chart:
    answers, plan = small_win()
    memo = records(memo_content(replace(answers, effects=(series,)), plan, RUN))
    (section,) = [section for section in memo.sections if section.key == "over-time"]
    return next(block for block in section.blocks if isinstance(block, Chart))


def test_the_effect_by_day_comes_from_the_series_and_from_past_runs_where_it_has_no_point():
    start = date(2026, 1, 1)
    points = tuple(point(start + timedelta(days=i), 0.03, 0.2 / (i + 1)) for i in range(35))
    cleared = start + timedelta(days=10)
    series = EffectSeries(
        "conversion", "treatment", "cuped", "absolute", 0.005, None, points, cleared, None, no_series=""
    )
    whole, fallback = effect_chart(series), effect_chart(replace(series, points=(), no_series="not_in_the_table"))
    assert whole.lines[1].values == (0.03,) * 35 and whole.flags == (("2026-01-11", "first clear"),)
    assert whole.lines[0].low[0] == pytest.approx(0.03 - 0.3) and whole.marks[0].at == 0.005
    assert sum(value is not None for value in fallback.lines[1].values) == 12
    assert len(fallback.days) == 35 and fallback.lines[1].values[0] is None


def test_chart_and_progress_name_the_same_first_clear_day():
    answers, plan = small_win()
    points = tuple(point(date(2026, 1, 1) + timedelta(days=i), 0.03, 0.2 / (i + 1)) for i in range(35))
    series = EffectSeries(
        "conversion", "treatment", "cuped", "absolute", 0.005, None, points, date(2026, 1, 11), None, no_series=""
    )
    for cleared, told in ((date(2026, 1, 11), "11 Jan 2026"), (None, "not yet")):
        effects = (replace(series, cleared_zero=cleared),)
        content = memo_content(replace(answers, effects=effects), plan, RUN)
        (progress,) = [section for section in records(content).sections if section.key == "progress"]
        assert f"('First clear at every look, treatment', '{told}')" in str(progress)


def test_without_a_series_progress_names_the_day_that_the_chart_of_past_runs_flags():
    sections = {section.key: section for section in records(content("win")).sections}
    chart = next(block for block in sections["over-time"].blocks if "effect as of each day" in block.title)
    ((flagged, _),) = chart.flags
    assert f"('First clear at every look, treatment', '{names.day(flagged)}')" in str(sections["progress"])


def test_a_reason_of_several_arms_is_said_once_and_stands_with_the_arm_that_it_is_about():
    (section,) = [s for s in records(content("three_arms")).sections if s.key == "decision"]
    shared, *arms = section.blocks
    told = [*shared.items, *(sentence for block in arms if isinstance(block, Bullets) for sentence in block.items)]
    assert len(told) == len(set(told)), told
    assert [block.text for block in arms if isinstance(block, Heading)] == [
        "blue: Ship",
        "green: Inconclusive: a person decides",
    ]
    assert "blue ships." in shared.items and any(sentence.startswith("Caution: ") for sentence in shared.items)
    assert "Every guardrail passed." in arms[1].items and "Every guardrail passed." not in shared.items


def test_a_series_of_an_arm_without_trust_names_no_first_clear_day():
    charts = [b for s in records(content("srm")).sections if s.key == "over-time" for b in s.blocks]
    assert charts and all("first clear" not in str(chart) for chart in charts)
    assert charts[0].title == "Conversion rate: difference that is no effect as of each day"
    assert charts[0].lines[1].style == 6, "a line without colour"
