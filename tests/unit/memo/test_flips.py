"""A memo says which change of each input would turn the decision; without trust it says nothing of the kind."""

from __future__ import annotations

import pytest
from tests.memo_kinds import KINDS, rollout

from exp_platform.memo.blocks import Bullets
from exp_platform.memo.flips import of_a_guardrail, of_the_effect
from exp_platform.memo.render import records

EFFECT = {"title": "Conversion", "format": "percent", "unit": "", "scale": "absolute", "status": "ok"}
HARM = {"title": "Latency", "format": "number", "unit": "", "margin_kind": "relative", "harm": 0.01, "margin": 0.05}


@pytest.mark.parametrize(
    ("low", "effect", "high", "said"),
    [
        (0.016, 0.025, 0.034, "is clear: it would not be if its effect were 1.6 points nearer to zero."),
        (-0.034, -0.025, -0.016, "is clear: it would not be if its effect were 1.6 points nearer to zero."),
        (
            -0.01,
            0.01,
            0.03,
            "if its effect were 1.0 points farther from zero, or, should it stay, with 4.0 times the users.",
        ),
        (
            -0.03,
            -0.01,
            0.01,
            "if its effect were 1.0 points farther from zero, or, should it stay, with 4.0 times the users.",
        ),
        (-0.02, 0.0, 0.02, "if its effect were 2.0 points farther from zero."),
    ],
)
def test_an_effect_says_how_far_it_is_from_the_other_answer(low: float, effect: float, high: float, said: str) -> None:
    assert of_the_effect(EFFECT | {"low": low, "effect": effect, "high": high}).endswith(said)


@pytest.mark.parametrize(
    ("status", "bound", "harm", "said"),
    [
        ("pass", 0.03, 0.01, "Latency is held: it would not be shown with 2.0% more harm."),
        ("inconclusive", 0.08, 0.01, "Latency is not shown to be safe: it would be with 3.0% less harm."),
        ("fail", 0.14, 0.1, "Latency is broken: it would not be with 5.0% less harm."),
        ("inconclusive", 0.03, 0.01, ""),
        ("inconclusive", None, None, ""),
    ],
)
def test_a_guardrail_says_how_far_it_is_from_another_verdict(status: str, bound: float, harm: float, said: str) -> None:
    assert of_a_guardrail(HARM | {"status": status, "bound": bound, "harm": harm}) == said


def changes(content: dict) -> list[str]:
    (section,) = [section for section in records(content).sections if section.key == "progress"]
    return [item for block in section.blocks if isinstance(block, Bullets) for item in block.items]


def test_the_memo_has_a_sentence_for_the_effect_and_each_guardrail_and_none_without_trust() -> None:
    found = changes(KINDS["win"]())
    assert [sentence.split(" is ")[0] for sentence in found] == ["Conversion rate", "Page latency"]
    assert changes(KINDS["srm"]()) == [] and len(changes(KINDS["three_arms"]())) == 4
    assert len(changes(rollout("passed", tested=("conversion",)))) == 1
