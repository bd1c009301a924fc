"""The way to a number, and what moved it since the last run: steps that add up, in figures and to the last bit."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from tests import hand_made as hm
from tests.memo_kinds import RUN, answers_of
from tests.unit.memo.test_memo import words_of

from exp_platform.config.models import Cap
from exp_platform.memo.answers import Answers
from exp_platform.memo.blocks import Memo, Section, Waterfall
from exp_platform.memo.content import memo_content
from exp_platform.memo.render import records, to_html, to_markdown
from exp_platform.results.last_run import Files, SinceLastRun, metrics_since
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.series_points import EffectPoint, EffectSeries
from exp_platform.results.uncapped import uncapped_effect


@cache
def win() -> tuple[Answers, AnalysisPlan]:
    """A clear win, with a guardrail."""
    return answers_of(lift=0.04, users=800)


def section(memo: Memo, key: str) -> Section:
    return next(one for one in memo.sections if one.key == key)


def pictures(found: Section) -> list[Waterfall]:
    inside = [block for fold in found.blocks for block in getattr(fold, "blocks", ())]
    return [block for block in (*found.blocks, *inside) if isinstance(block, Waterfall)]


def figure(text: str) -> Fraction:
    """The number in a figure such as `−0.12 points`."""
    number = re.search(r"[−+]?[^\d−+]*([\d,.]+)", text)
    assert number, text
    return Fraction(number.group(1).replace(",", "")) * (-1 if "−" in text else 1)


def adds_up(picture: Waterfall) -> None:
    """Each change begins where the step before ended, and levels are the sums of the figures so far."""
    so_far = Fraction(0)
    for i, step in enumerate(picture.steps):
        if step.is_level:
            assert step.start == 0 and (i == 0 or step.end == picture.steps[i - 1].end)
            assert i == 0 or figure(step.figure) == so_far, picture.alt
            so_far = figure(step.figure)
        else:
            assert step.start == picture.steps[i - 1].end
            so_far += figure(step.figure)


def capped(answers: Answers, plan: AnalysisPlan, kept: bool) -> dict[str, Any]:
    """The memo where the guardrail is capped; `kept`: the sums by day without the cap are there."""
    metric = plan.metric("latency").model_copy(update={"cap": Cap(value=9.0), "aggregation": "sum", "type": "sum"})
    metrics = tuple(metric if one.name == "latency" else one for one in plan.metrics)
    sums = {("latency", arm): (total, None) for arm, total in (("control", 8000.0), ("treatment", 8800.0))}
    return memo_content(replace(answers, uncapped=sums if kept else {}), replace(plan, metrics=metrics), RUN)


def test_the_way_goes_from_the_plain_difference_to_the_number_that_decides_and_adds_up() -> None:
    memo = records(memo_content(*win(), RUN))
    (primary, guardrail) = pictures(section(memo, "way"))
    assert [step.label for step in primary.steps][::2] == ["Plain difference, no cap", "The number that decides"]
    for picture in (primary, guardrail):
        adds_up(picture)
    answers, plan = win()
    deciding = next(r for r in answers.results if r["is_deciding"] and r["metric_name"] == "conversion")
    assert primary.steps[-1].end == deciding["effect_abs"], "the picture ends at the published number"
    assert plan.experiment.method_in_force == "cuped"


def test_the_cap_is_a_step_of_its_own_where_the_sums_without_it_are_kept() -> None:
    memo = records(capped(*win(), kept=True))
    guardrail = pictures(section(memo, "way"))[1]
    adds_up(guardrail)
    assert [step.label for step in guardrail.steps[:2]] == ["Plain difference, without the cap", "Capped at 9"]
    row = next(r for r in win()[0].results if r["metric_name"] == "latency" and r["method"] == "ab")
    expected = 8800 / row["treatment_n"] - 8000 / row["control_n"]
    assert guardrail.steps[0].end == pytest.approx(expected)
    assert "not kept" in words_of(to_html(capped(*win(), kept=True))), "the interval without the cap"


def test_where_the_effect_without_the_cap_is_not_kept_the_memo_says_so() -> None:
    text = words_of(to_html(capped(*win(), kept=False)))
    assert "The effect without the cap is not kept for this metric" in text
    assert "The effect without the cap is not kept" not in words_of(to_html(capped(*win(), kept=True)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"cap": None}, 0.25),  # the very effect
        ({"kind": "mean"}, None),  # the mean of events does not add up over days
        ({"maturity": "complete"}, None),  # the sums by day are also of users whose window is open
        ({}, 0.5),
    ],
)
def test_an_uncapped_effect_is_only_given_where_the_sums_are_of_the_same_users(keys: Any, expected: Any) -> None:
    content = {"kind": "sum", "cap": Cap(value=1.0)} | keys
    metric = hm.metric("m", content.pop("kind"), **content)
    row = {"effect_abs": 0.25, "effect_rel": 0.25, "variant_id": "b", "control_n": 10, "treatment_n": 10}
    sums = {("m", "a"): (10.0, None), ("m", "b"): (15.0, None)}
    assert uncapped_effect(metric, row, sums, "a") == expected


def since(point: float | None, **keys: Any) -> tuple[Answers, AnalysisPlan]:
    """The win, after a run of the day before that had published +3 points."""
    answers, plan = win()
    day = plan.dt - timedelta(days=1)
    deciding = [row for row in answers.results if row["is_deciding"]]
    before = [
        dict(row) | {"dt": day, "effect_abs": 0.03, "control_n": row["control_n"] - 9}
        for row in deciding
        if row["metric_name"] == "conversion"
    ]
    series = []
    if point is not None:
        numbers = dict.fromkeys(("low", "high", "anytime_low", "anytime_high"), point)
        one = EffectPoint(
            as_of=day, effect=point, in_force="anytime", control_n=791, treatment_n=800, control_mean=0.1,
            treatment_mean=0.1, status="ok", reason="", **numbers,
        )  # fmt: skip
        series = [EffectSeries("conversion", "treatment", "cuped", "absolute", None, None, (one,), None, None)]
    found = SinceLastRun(
        run_id="run_0", dt=day, decisions={"all": "keep_running", "treatment": "keep_running"}, trust="trusted",
        interval="anytime", metrics=metrics_since(before, answers.results, series, plan, "anytime"), **keys,
    )  # fmt: skip
    return replace(answers, moved=found), plan


def test_known_days_and_new_days_add_up_to_the_change_since_the_last_run() -> None:
    answers, plan = since(0.034)
    assert answers.moved is not None
    numbers = answers.moved.metrics[0].figures["effect"]
    now = next(r["effect_abs"] for r in answers.results if r["is_deciding"] and r["metric_name"] == "conversion")
    assert (numbers.before, numbers.between, numbers.now) == (0.03, 0.034, now)
    memo = records(memo_content(answers, plan, RUN))
    (picture,) = pictures(section(memo, "moved"))
    adds_up(picture)
    assert picture.steps[1].figure == "+0.40 points"
    assert answers.moved.metrics[0].figures["users"].now == 1600.0


def test_late_events_files_settings_definition_and_code_are_named() -> None:
    answers, plan = since(
        0.034,
        events={"outcomes": 12, "exposures": 0},
        files=(Files("outcomes", "dt=2026-02-03/a.parquet", 100, 98), Files("outcomes", "dt=2026-02-02/b", 5, None)),
        settings=(),
        definitions=("conversion: cap.value: 5 → 9",),
        code=("v1", "v2"),
    )
    text = words_of(to_markdown(memo_content(answers, plan, RUN)))
    for said in (
        "The decision was “Keep running” and is “Ship”.",
        "Late and re-stated events together, of days up to 3 Feb 2026: 12 more outcomes.",
        "(100 rows then, 98 now)",
        "(5 rows then, gone now)",
        "Definition: conversion: cap.value: 5 → 9.",
        "Settings: as on that day.",
        "Code: v1 then, v2 now.",
        "exp compare run_0 run_1",
    ):
        assert words_of(said) in text, said


def test_what_is_not_known_any_more_is_said_and_nothing_is_said_without_a_last_run() -> None:
    answers, plan = since(None, code=("v1", "v1"))
    memo = records(memo_content(answers, plan, RUN))
    text = words_of(to_html(memo_content(answers, plan, RUN)))
    assert not pictures(section(memo, "moved")), "without a point of that day nothing can be split"
    assert "is not split here: The series of days has no value for that day." in text
    assert "not known, no run has kept the configuration of 3 Feb 2026" in text and "Code: as on that day." in text
    assert "moved" not in [one.key for one in records(memo_content(*win(), RUN)).sections]


def test_an_unchanged_past_is_said_by_name() -> None:
    answers, plan = since(0.03, events={"outcomes": 0}, files=(), settings=(), definitions=(), code=("v1", "v1"))
    text = words_of(to_html(memo_content(answers, plan, RUN)))
    assert "Late and re-stated events: none; every day up to 3 Feb 2026 has the events that it had." in text
