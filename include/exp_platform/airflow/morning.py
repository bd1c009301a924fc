"""One morning of `daily_experiments`: which experiments are healthy, newly red, or red as on the day before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from exp_platform.airflow.outcomes import sentence_on

MORNING, NOTE_KEY = "morning", "note"  # the task that sums the morning up, and the key of its XCom
Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class Morning:
    """The experiments of one day by how they ended; each outcome holds the experiment's id."""

    dt: str
    healthy: tuple[Outcome, ...]
    known: tuple[Outcome, ...]  # red as on the day before
    new: tuple[Outcome, ...]
    refused: tuple[str, ...] = ()  # one sentence for each file of configuration that is refused
    looked: bool = True  # False when the due experiments could not even be found

    @property
    def others(self) -> int:
        """The number of experiments that need a person."""
        return len(self.known) + len(self.new)

    def headline(self) -> str:
        """The day and the numbers."""
        if not self.looked:
            return f"{self.dt}: no experiment was looked at: see the red tasks"
        words = [f"{len(self.healthy)} healthy", f"{len(self.new)} red", f"{len(self.known)} known to be red"]
        if not self.healthy and not self.others:
            words = ["no experiment was due"]
        if self.refused:
            words.append(f"configuration refused: {len(self.refused)}")
        return f"{self.dt}: {', '.join(words)}"

    def lines(self) -> list[str]:
        """One line for each experiment or file that needs a person, what is new first."""
        return [
            *(f"{one['experiment_id']}: {sentence_on(one)}" for one in self.new),
            *(f"configuration refused: {sentence}" for sentence in self.refused),
            *(f"{one['experiment_id']}: known: {sentence_on(one)}" for one in self.known),
        ]

    def note(self) -> str:
        """The note of the run."""
        return "\n".join([self.headline(), *(f"- {line}" for line in self.lines())])

    def error(self) -> str:
        """The sentence that makes the task red; the known ones are left out of it."""
        told = [line for line in self.lines() if ": known: " not in line]
        return "; ".join(told) or "a task of this run failed: see the red ones"


def morning_of(
    dt: str,
    due: Iterable[Mapping[str, Any]] | None,
    outcomes: Iterable[Outcome],
    not_landed: Iterable[Outcome],
    refused: Any,
) -> Morning:
    """The morning, from what the tasks have left in XCom; an experiment without an outcome is told as such."""
    found = {one["experiment_id"]: one for one in (*not_landed, *outcomes)}
    ended = [found.get(one["experiment_id"]) or _silent(one["experiment_id"]) for one in due or ()]
    return Morning(
        dt=dt,
        healthy=tuple(one for one in ended if not one["failed"]),
        known=tuple(one for one in ended if one["failed"] and one["known"]),
        new=tuple(one for one in ended if one["failed"] and not one["known"]),
        refused=tuple((refused or {}).get("sentences", ())),
        looked=due is not None,
    )


def failed_before_its_run(experiment_id: str, task: str, sentence: str) -> dict[str, Any]:
    """The outcome of an experiment for which no run was started."""
    failed = [{"task": task, "sentence": sentence}]
    return {"experiment_id": experiment_id, "decision": "", "trust": "", "failed": failed, "known": False}


def _silent(experiment_id: str) -> dict[str, Any]:
    return failed_before_its_run(experiment_id, "analyse", "ended without a word: see its log")
