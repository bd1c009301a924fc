"""The section on the decision: its reasons, and for several arms those of each."""

from __future__ import annotations

from typing import Any

from exp_platform.memo.blocks import Bullets, Heading, Section
from exp_platform.memo.published import Source


def reasons(source: Source) -> Section:
    """The reasons in order, as sentences."""
    answer = source.facts["answer"]
    blocks: list[Any] = [Bullets(tuple(answer["sentences"]))]
    if source.several_arms:
        for arm in answer["arms"]:
            blocks += [Heading(f"{arm['arm']}: {arm['decision_label']}"), Bullets(tuple(arm["sentences"]))]
    return Section("decision", "Why this decision", tuple(blocks))
