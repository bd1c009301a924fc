"""How a run of `experiment_analysis` ended, as the daily run that started it finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exp_platform.airflow.jobs import FAILURE_KEY
from exp_platform.alerts.model import Kind
from exp_platform.pipelines.registry import STAGES

GATES = {
    "quality_gate": Kind.QUALITY_FAILED,
    "srm_gate": Kind.SRM_FAILED,
    "guardrail_gate": Kind.GUARDRAIL_FAILED,
}
ANSWER_KEY = "answer"  # XCom key of `write_memo`: decision and trust, as they are shown
# In the order in which a person looks at them; `watcher` only repeats the others.
TOLD = ("resolve_run", *(stage.name for stage in STAGES), *GATES, "experiment_passed", "alert")
MEMO = "write_memo"

Pull = Callable[[str, str], Any]  # task id and key -> the value in XCom, or None


def outcome_of(states: Mapping[str, str | None], pull: Pull) -> dict[str, Any]:
    """Decision, trust and the failed tasks of a run, each with its sentence; `known` when nothing of it is new.

    Only gates can be known: a gate that fails as on the day before is a verdict that somebody has been told of.
    """
    red = [name for name in TOLD if states.get(name) == "failed"]
    if len(red) > 1:  # the memo's task fails with the stage that blocks it
        red = [name for name in red if name != MEMO]
    failures = {name: pull(name, FAILURE_KEY) or {} for name in red}
    failed = [
        {"task": name, "sentence": found.get("sentence") or "ended without a word: see its log"}
        for name, found in failures.items()
    ]
    answer = pull(MEMO, ANSWER_KEY) or {}
    return {
        "decision": answer.get("decision", ""),
        "trust": answer.get("trust", ""),
        "failed": failed,
        "known": bool(red) and all(name in GATES and failures[name].get("since") for name in red),
    }


def sentence_on(outcome: Mapping[str, Any]) -> str:
    """The failed tasks with their sentences, or the decision."""
    told = "; ".join(f"{one['task']}: {one['sentence']}" for one in outcome["failed"])
    return told or f"{outcome['decision'] or 'no decision'}, {(outcome['trust'] or 'trust unknown').lower()}"
