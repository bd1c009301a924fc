"""`exp compare`: what moved a result between two runs or two dates of an experiment."""

from __future__ import annotations

from typing import Any

import typer

from exp_platform.cli import CONFIG, app, console, for_people, problems
from exp_platform.cli.look import print_grid, print_json
from exp_platform.config.load import load_project
from exp_platform.operations.chain_of_runs import Moved, moved
from exp_platform.operations.moved_inputs import run_of
from exp_platform.operations.moved_words import PART_WORDS, lines_of, table_of

_EXPERIMENT = typer.Option(None, "--experiment-id", help="The experiment, where A and B are dates.")
_JSON = typer.Option(False, "--json", help="As JSON, for programs: every metric, every number unrounded.")


@app.command()
@for_people
def compare(
    a: str,
    b: str,
    experiment_id: str | None = _EXPERIMENT,
    as_json: bool = _JSON,
    config: str | None = CONFIG,
) -> None:
    """Say what moved a result from A to B: two run ids, or two dates (YYYY-MM-DD) of an experiment.

    The change of each deciding number is split into code, settings, definition, late events, re-stated events and new
    days; the parts add up exactly. What differs is computed in a scratch lake; the lake is only read.
    """
    project = load_project(config)
    first, last = (run_of(project, name, experiment_id) for name in (a, b))
    found = moved(project, first, last, log=lambda line: problems.print(line, markup=False))
    if as_json:
        print_json(as_plain(found))
        return
    console.print("\n".join(lines_of(found)), markup=False, soft_wrap=True)
    for title, heads, rows in table_of(found):
        console.print(f"\n{title}", markup=False, soft_wrap=True)
        print_grid(heads, rows)


def as_plain(found: Moved) -> dict[str, Any]:
    """The split for programs: `levels` are a number at the start and after each step, a part the difference of two."""
    chain = found.chain
    return {
        "experiment_id": found.first.experiment_id,
        "from": _run(found.first),
        "to": _run(found.last),
        "notes": list(found.notes),
        "computed_links": found.computed,
        "parts": [
            {"part": one.part, "title": PART_WORDS[one.part], "differs": one.differs, "says": list(one.says)}
            for one in found.parts
        ],
        "steps": [part for part, _ in chain.then],
        "numbers": [
            {
                "metric": metric,
                "arm": arm,
                "number": figure,
                "levels": list(chain.levels((metric, arm), figure)),
                "changes": {
                    c.part: None if c.by is None else float(c.by) for c in chain.changes((metric, arm), figure)
                },
            }
            for metric, arm in chain.subjects
            for figure in ("effect", "low", "high", "p_value", "users")
        ],
        "turns": [
            {"part": part, "about": about, "before": before, "after": after}
            for part, about, before, after in chain.turns()
        ],
    }


def _run(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "dt": run.dt, "config_hash": run.config_hash, "code_version": run.code_version}
