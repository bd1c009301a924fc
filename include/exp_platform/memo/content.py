"""The content of a memo: facts by name, and the records of its first screen and its sections.

To add a section: write `sections/<name>.py` with a function from `Source` to a `Section` of the blocks in `blocks.py`
(or None where there is nothing to say), and name it in SECTIONS. HTML, Markdown and JSON follow. What it reads that no
section reads yet is a field of `answers.Answers` with a default, filled by the stage `write_memo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exp_platform.memo import names
from exp_platform.memo.answers import Answers
from exp_platform.memo.blocks import Memo, Section, to_plain
from exp_platform.memo.facts import facts_of
from exp_platform.memo.first_screen import first_screen
from exp_platform.memo.progress import ways_of
from exp_platform.memo.published import Source
from exp_platform.memo.sections.by_age import by_age
from exp_platform.memo.sections.data import data
from exp_platform.memo.sections.guardrails import guardrails
from exp_platform.memo.sections.metrics import metrics
from exp_platform.memo.sections.moved import moved
from exp_platform.memo.sections.over_time import over_time
from exp_platform.memo.sections.plan import plan as plan_of_the_experiment
from exp_platform.memo.sections.progress import progress
from exp_platform.memo.sections.reasons import reasons
from exp_platform.memo.sections.trust import trust
from exp_platform.memo.sections.unusable import unusable
from exp_platform.memo.sections.way import way
from exp_platform.memo.sections.where import before, segments
from exp_platform.memo.sections.who import who
from exp_platform.results.plan import AnalysisPlan

FORMAT = 2  # of the JSON file; raised when records of an older one can no longer be read
# In the order of the page. A section that returns None is left out.
SECTIONS: tuple[Callable[[Source], Section | None], ...] = (
    reasons,
    over_time,
    by_age,
    guardrails,
    progress,
    metrics,
    way,
    who,
    segments,
    before,
    moved,
    trust,
    unusable,
    plan_of_the_experiment,
    data,
)


def memo_content(published: Answers, plan: AnalysisPlan, run: Mapping[str, Any]) -> dict[str, Any]:
    """All content of the memo as plain data; `run` holds run_id, config_hash, code_version and computed_at."""
    facts = facts_of(published, plan, run)
    return {**facts, "format": FORMAT, "memo": to_plain(memo_of(Source(published, plan, facts)))}


def memo_of(source: Source) -> Memo:
    """The records of the memo."""
    first = first_screen(source, ways_of(source))
    found = (section(source) for section in SECTIONS)
    head = f"{first.word}: {first.title}, {names.day(source.facts['dt'])}"
    return Memo(head, first, tuple(section for section in found if section is not None))
