"""A book of played scenarios: the torture is long, so that it may be played in several sittings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.torture.bench import Outcome, Scenario


def entered(path: Path, outcome: Outcome) -> None:
    """Add a played scenario to the book."""
    line = {
        "name": outcome.scenario.name,
        "seen": outcome.seen,
        "broken": outcome.broken,
        "seconds": round(outcome.seconds, 1),
        "processor": round(outcome.processor, 1),
        "was_played": outcome.was_played,
        "code": outcome.code,
    }
    with path.open("a", encoding="utf-8") as book:
        book.write(json.dumps(line) + "\n")


def outcomes_of(path: Path | None, scenarios: Iterable[Scenario]) -> Iterator[Outcome]:
    """The outcomes that the book holds; of a scenario that was played again the last one counts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.is_file() else []
    said = {line["name"]: line for line in map(json.loads, lines)}
    for scenario in scenarios:
        if line := said.get(scenario.name):
            times = line["seconds"], line.get("processor", 0.0)
            how = line["was_played"], line.get("code", "")
            yield Outcome(scenario, line["seen"], tuple(line["broken"]), *times, *how)


def with_the_rest(outcomes: Sequence[Outcome], scenarios: Iterable[Scenario]) -> Iterator[Outcome]:
    """One outcome of each scenario, in the order of the scenarios, also of those that were not played."""
    found = {outcome.scenario.name: outcome for outcome in outcomes}
    for scenario in scenarios:
        yield found.get(scenario.name, Outcome(scenario, "not played", (), 0.0, was_played=False))
