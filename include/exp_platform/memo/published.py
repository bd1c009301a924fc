"""All that a section may read: the published rows, the plan, and the facts that were made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exp_platform.memo.answers import Answers
from exp_platform.results.plan import AnalysisPlan


@dataclass(frozen=True, eq=False)
class Source:
    """The source of every section of one memo."""

    published: Answers
    plan: AnalysisPlan
    facts: Mapping[str, Any]

    @property
    def several_arms(self) -> bool:
        """True where control is compared with more than one arm, so that each row names its arm."""
        return len(self.plan.experiment.treatments) > 1

    @property
    def judged(self) -> bool:
        """True where the numbers of some arm may be read as effects."""
        return any(row["is_judged"] for row in self.facts["metrics"])

    def title(self, metric: str) -> str:
        """A metric's title; a name that the experiment does not know is shown as it is."""
        return next((m.title_in_force for m in self.plan.metrics if m.name == metric), metric)
