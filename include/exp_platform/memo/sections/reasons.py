"""The section on the decision: its reasons, and for several arms those of each."""

from __future__ import annotations

from typing import Any

from exp_platform.memo.blocks import Bullets, Heading, Section
from exp_platform.memo.published import Source


def reasons(source: Source) -> Section:
    """The reasons in order, as sentences; of several arms each has its own, and what holds for all is said once."""
    answer = source.facts["answer"]
    if not source.several_arms:
        return Section("decision", "Why this decision", (Bullets(tuple(answer["sentences"])),))
    of_arms = [arm["sentences"] for arm in answer["arms"]]
    of_all = set(of_arms[0]).intersection(*of_arms[1:])
    of_any = {sentence for sentences in of_arms for sentence in sentences}
    shared = [s for s in answer["sentences"] if s in of_all or s not in of_any]
    shared += [s for s in of_arms[0] if s in of_all and s not in shared]
    blocks: list[Any] = [Bullets(tuple(shared))]
    for arm in answer["arms"]:
        own = tuple(sentence for sentence in arm["sentences"] if sentence not in of_all)
        blocks.append(Heading(f"{arm['arm']}: {arm['decision_label']}"))
        blocks += [Bullets(own)] if own else []
    return Section("decision", "Why this decision", tuple(blocks))
