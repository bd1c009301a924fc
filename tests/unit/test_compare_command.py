"""`exp compare`: what differs and what has moved, in lines, in tables that add up, and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from fractions import Fraction

import pytest
from tests.empty_lake import empty_lake
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.cli.compare import as_plain
from exp_platform.cli.look import print_json
from exp_platform.config.load import Project
from exp_platform.ledger.manifest import Pins
from exp_platform.operations.chain_of_runs import Differs, Moved
from exp_platform.operations.moved_words import lines_of, table_of
from exp_platform.operations.past_run import PastRun
from exp_platform.results.moved import PARTS, Chain, Level, Numbers

ID = "exp_checkout_button_001"


def run(run_id: str, day: int) -> PastRun:
    at = datetime(2026, 2, day, tzinfo=UTC)
    return PastRun(run_id, ID, date(2026, 2, day), "c", "v", at, Pins({}, {}), frozenset())


def numbers(effect: float, decision: str = "keep_running") -> Numbers:
    level = Level(effect, effect - 0.01, effect + 0.01, 0.04, 100.0, "ok")
    return Numbers({("conversion", "treatment"): level}, {"all": decision}, "trusted", {}, "anytime")


def found(project: Project) -> Moved:
    """Late events moved conversion by a third of a point, a new day by a seventh, and then it was shipped."""
    before, late, after = numbers(0.02), numbers(0.02 + 0.01 / 3), numbers(0.02 + 0.01 / 3 + 0.01 / 7, "ship")
    steps = [before, before, before, late, late, after, after]
    parts = tuple(
        Differs(part, part in ("late", "days"), ("12 late outcomes",) if part == "late" else ()) for part in PARTS
    )
    chain = Chain(before, tuple(zip((*PARTS, "code"), steps, strict=True)))  # type: ignore[arg-type]
    return Moved(run("run_1", 14), run("run_2", 15), parts, chain, 1, project)


def test_the_lines_say_what_differs_and_which_part_turned_the_decision(project: Project) -> None:
    lines = list(lines_of(found(project)))
    assert lines[0] == f"{ID}: run run_1 (as of 2026-02-14) → run run_2 (as of 2026-02-15)"
    assert "  late events: 12 late outcomes" in lines and "  definition: nothing differs" in lines
    assert lines[-1] == "decision: keep_running → ship (by new days)"


def test_the_figures_of_a_table_add_up_as_they_are_printed(project: Project) -> None:
    [(title, heads, rows)] = table_of(found(project))
    assert title == "Conversion rate, treatment (percentage points)" and heads[1] == "effect"
    assert [row[0] for row in rows] == [
        "2026-02-14", "code", "settings", "definition", "late events", "re-stated events", "new days", "2026-02-15",
    ]  # fmt: skip
    for column in range(1, len(heads)):
        first, *parts, last = (Fraction(row[column].replace("−", "-")) for row in rows)
        assert first + sum(parts) == last, heads[column]
    assert [row[1] for row in rows][3:] == ["0", "+0.33", "0", "+0.15", "+2.48"]


def test_json_has_every_level_unrounded(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(as_plain(found(project)))
    plain = json.loads(capsys.readouterr().out)
    effect = next(row for row in plain["numbers"] if row["number"] == "effect")
    assert effect["levels"][0] == 0.02 and effect["levels"][-1] == 0.02 + 0.01 / 3 + 0.01 / 7
    assert plain["steps"] == [*PARTS, "code"] and plain["to"]["run_id"] == "run_2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run_1", "run_1"], "both sides are run 'run_1': nothing can have moved"),
        (["run_1", "run_2"], "run 'run_1' is not in ops.run_manifest; the latest runs: none"),
        (["2026-02-14", "2026-02-15"], "name it with --experiment-id"),
        (["2026-02-14", "2026-02-15", "--experiment-id", ID], f"no run of {ID} has decided as of 2026-02-14"),
    ],
)
def test_what_cannot_be_compared_ends_with_64_and_a_sentence(project: Project, words: list[str], said: str) -> None:
    empty_lake(project)
    done = CliRunner().invoke(app, ["compare", *words, "--config", str(project.path)])
    assert done.exit_code == 64 and said in " ".join(done.output.split()), done.output
