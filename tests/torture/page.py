"""Render played scenarios as a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.torture.bench import Outcome

from exp_platform.version import code_version

WORLDS = 150  # seconds of processor to fill the worlds, and to run their days undisturbed

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

A run goes on to its end where its stage was killed after the commit, and in most scenarios of time. Elsewhere it ends
with the stage that was harmed: the later stages of an undisturbed run began with the same rows.

{played} scenarios played{earlier}, {wrong} unexpected, {skipped} not played. Stages that were harmed: {stages}.
{ending}

How long each part takes, in seconds of processor (two cores give two of them a second), with the JVM, the retry and all
checks after it; the two worlds cost some {worlds} more:

| part | scenarios | seconds of processor | of one |
|---|---|---|---|
{costs}

| part | scenario | what was done | expected | seen |
|---|---|---|---|---|
{rows}
{absent}"""


def page(outcomes: Iterable[Outcome], last: str = "") -> str:
    """The page as Markdown."""
    found = list(outcomes)
    played = [outcome for outcome in found if outcome.was_played]
    old = sum(outcome.code != code_version() for outcome in played)
    return TEMPLATE.format(
        played=len(played),
        earlier=f" ({old} of them with an earlier version of the code)" if old else "",
        wrong=sum(not outcome.as_expected for outcome in played),
        skipped=len(found) - len(played),
        stages=", ".join(dict.fromkeys(one.scenario.begins[7:] for one in played if one.scenario.begins != "done")),
        ending=f"The runs with Spark end with the stage {last}." if last else "All stages were run.",
        costs="\n".join(_costs(played)),
        worlds=WORLDS,
        rows="\n".join(map(_row, played)),
        absent="".join(_absent(outcome for outcome in found if not outcome.was_played)),
    )


def _costs(played: Iterable[Outcome]) -> Iterator[str]:
    """One row for each part, and one for all."""
    parts: dict[str, list[float]] = {}
    for outcome in (outcome for outcome in played if outcome.processor):
        parts.setdefault(outcome.scenario.group, []).append(outcome.processor)
    every = [second for spent in parts.values() for second in spent]
    for part, seconds in [*parts.items(), ("all", every)]:
        yield f"| {part} | {len(seconds)} | {sum(seconds):.0f} | {sum(seconds) / max(len(seconds), 1):.1f} |"


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
