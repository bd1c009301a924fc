"""Problems of a dataset as a whole; each is one sentence that names the file and the broken rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from exp_platform.lake.row_audit import Finding

Rule = Literal["files can be read", "columns are there", "columns have their type", "there are rows", "rows are valid"]


MOST_NAMES = 20


def named(names: Sequence[str]) -> str:
    """Names in one sentence; of a file with thousands of columns only the first are told.

    >>> named(["a", "b"]), named([f"c{n}" for n in range(10_000)])[-23:]
    ('a, b', 'c18, c19 and 9,980 more')
    """
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


@dataclass(frozen=True)
class Problem:
    """One broken dataset-level rule; `place` is the file, or the location of the whole dataset."""

    dataset: str
    rule: Rule
    place: str
    what: str

    @property
    def sentence(self) -> str:
        """The problem as a sentence for the person who has to repair the data."""
        return f"{self.dataset}: {self.place}: {self.what}"


def summarise(problems: Sequence[Problem], experiment_id: str) -> str:
    """All problems as one error text; equal problems of several files are counted."""
    alike: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        alike[(problem.dataset, problem.rule, problem.what)].append(problem)
    sentences = [
        group[0].sentence + (f" (and {len(group) - 1} more files alike)" if len(group) > 1 else "")
        for group in alike.values()
    ]
    return (
        f"{experiment_id}: raw data are refused: {'; '.join(sentences)}. Nothing was published, earlier results stay "
        "readable; mend the files and run again"
    )


def findings(problems: Sequence[Problem]) -> list[Finding]:
    """One critical finding per broken rule, with the problems as detail and the files as sample."""
    by_rule: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_rule[problem.rule].append(problem)
    return [
        Finding(
            rule,
            False,
            "critical",
            len(group),
            sample=tuple(p.place for p in group[:5]),
            detail="; ".join(dict.fromkeys(p.what for p in group[:5])),
        )
        for rule, group in by_rule.items()
    ]
