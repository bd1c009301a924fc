"""`exp show ID --markdown`: the answer on one page of at most 60 lines, for a pull request or a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from exp_platform.config.models import Experiment
from exp_platform.memo import wording as words
from exp_platform.memo.text import markdown
from exp_platform.status import Trust

COLUMNS = ("metric", "arm", "method", "without", "with", "effect (interval)", "relative", "p", "p adjusted")
LONGEST = 60  # lines
_REASONS = 8  # that are shown of each arm and of all
_FIGURES = COLUMNS[3:]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ResultLine:
    """One result as text: its cells under COLUMNS, and its status with a star where it decides."""

    cells: tuple[str, ...]
    status: str


def scorecard(
    experiment: Experiment,
    day: date,
    interval: str,
    decisions: Sequence[Row],
    results: Sequence[ResultLine],
    guardrails: Sequence[Row],
) -> str:
    """The scorecard; a result that is not trusted has no figures, and tables give way where lines run out."""
    overall = next((row for row in decisions if row["variant_id"] == "all"), None)
    head = [*_head(experiment, day, overall), *_arms(decisions, overall), "", f"Interval in force: {interval}.", ""]
    foot = _foot(experiment, overall)
    trusted = overall is None or overall["trust"] != Trust.NOT_TRUSTED.value
    tables = (_results(results, trusted), _guardrails(guardrails) if trusted else [])
    lines = [*head, *_fitted(tables, LONGEST - len(head) - len(foot), experiment), *foot]
    return "\n".join(lines)


def _head(experiment: Experiment, day: date, overall: Row | None) -> list[str]:
    about = f"`{experiment.experiment_id}` · {markdown(experiment.owner)} · as of {day}"
    title = f"## {markdown(experiment.name)}"
    if overall is None:
        return [title, "", f"**No decision yet** · {about}"]
    decision, trust = words.labels(words.DECISIONS, overall["decision"]), words.labels(words.TRUSTS, overall["trust"])
    return [title, "", f"**{decision}** · {trust} · {about}", "", *_reasons(overall)]


def _arms(decisions: Sequence[Row], overall: Row | None) -> list[str]:
    """The decision of each arm in a line, where there are several."""
    arms = [row for row in decisions if row is not overall]
    if len(arms) < 2:
        return []
    shown = (f"{markdown(row['variant_id'])}: {words.labels(words.DECISIONS, row['decision'])}" for row in arms)
    return ["", f"Arms: {'; '.join(shown)}."]


def _reasons(row: Row) -> list[str]:
    lines = [f"- {markdown(line)}" for line in words.reason_lines(row["reasons"])]
    left = len(lines) - _REASONS
    return [*lines[:_REASONS], f"- and {left} more"] if left > 0 else lines


def _results(results: Sequence[ResultLine], trusted: bool) -> list[str]:
    columns = [column for column in COLUMNS if trusted or column not in _FIGURES]
    kept = [i for i, column in enumerate(COLUMNS) if column in columns]
    rows = [[*(markdown(line.cells[i]) for i in kept), markdown(line.status)] for line in results]
    note = [] if trusted else ["The result is not trusted: effects would mean nothing and are left out.", ""]
    return [*note, *_table([*columns, "status"], rows)]


def _guardrails(rows: Sequence[Row]) -> list[str]:
    """Each guardrail with the most harm that its interval allows, against its margin."""
    ordered = sorted(rows, key=lambda r: (r["metric_name"], r["variant_id"]))
    cells = [
        [
            markdown(row["metric_name"]),
            markdown(row["variant_id"]),
            row["status"],
            f"{_harm(row['bound'], row)} of {_harm(row['margin'], row)}",
        ]
        for row in ordered
    ]
    return ["", *_table(["guardrail", "arm", "verdict", "harm at most, of the margin"], cells)] if cells else []


def _harm(value: float | None, row: Row) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if row["margin_kind"] == "absolute" else words.percent(value, 2)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _fitted(tables: Sequence[list[str]], room: int, experiment: Experiment) -> list[str]:
    """The tables' lines; where they are more than there is room for, the first ones and how to see the others."""
    lines = [line for table in tables for line in table]
    if len(lines) <= room:
        return lines
    return [*lines[: room - 2], "", f"and {len(lines) - room + 2} more lines: `exp show {experiment.experiment_id}`"]


def _foot(experiment: Experiment, overall: Row | None) -> list[str]:
    if overall is None:
        return []
    marks = f"Run `{overall['run_id']}`, configuration `{overall['config_hash'][:12]}`"
    return [
        "",
        f"{marks}, policy {markdown(overall['policy'])}. `exp reproduce {overall['run_id']}` computes it again.",
    ]
