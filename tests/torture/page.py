"""Render played scenarios as a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.torture.bench import Outcome

TEMPLATE = """\
# Torture

Written by `tests/torture/page.py` from the outcomes of played scenarios; do not edit. Each scenario does real harm to a
small real experiment and then lets it be run again. A row is as expected when what was seen is what was expected, and
when afterwards every promise holds:

- raw files are unchanged, byte for byte
- no table has two rows of one grain
- no row of another experiment has changed
- every published snapshot has a recorded audit, and none that broke a rule
- manifest, tables, decision and memo agree
- all answers equal those of an undisturbed run

{played} scenarios played, {wrong} unexpected, {skipped} not played. Stages that were harmed: {stages}.
{ending}

| part | scenario | what was done | expected | seen |
|---|---|---|---|---|
{rows}
{absent}"""


def page(outcomes: Iterable[Outcome], last: str = "") -> str:
    """The page as Markdown; equal outcomes give equal bytes, however long they took."""
    found = list(outcomes)
    played = [outcome for outcome in found if outcome.was_played]
    return TEMPLATE.format(
        played=len(played),
        wrong=sum(not outcome.as_expected for outcome in played),
        skipped=len(found) - len(played),
        stages=", ".join(dict.fromkeys(outcome.scenario.begins.removeprefix("before ") for outcome in played)),
        ending=f"The runs with Spark end with the stage {last}." if last else "All stages were run.",
        rows="\n".join(map(_row, played)),
        absent="".join(_absent(outcome for outcome in found if not outcome.was_played)),
    )


def _absent(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """One paragraph for each reason why scenarios were not played."""
    names: dict[str, list[str]] = {}
    for outcome in outcomes:
        names.setdefault(outcome.seen, []).append(outcome.scenario.name)
    for reason, some in names.items():
        yield f"\n{reason[0].upper()}{reason[1:]}:\n\n" + "".join(f"- {name}\n" for name in some)


def _row(outcome: Outcome) -> str:
    scenario = outcome.scenario
    seen = "; ".join([outcome.seen, *(f"**broken: {sentence}**" for sentence in outcome.broken)])
    mark = "" if outcome.as_expected else " ✗"
    cells = (scenario.group, scenario.name, scenario.done, scenario.expected, seen + mark)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
