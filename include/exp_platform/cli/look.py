"""`exp list`, and how the commands that only read print tables and JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import typer
from rich.table import Table as Grid

from exp_platform.cli import CONFIG, app, console, for_people
from exp_platform.config.load import Project, load_project
from exp_platform.lake.tables.names import DECISION

Row = dict[str, Any]
NARROW = 100  # columns of a terminal below which a table would be cut off


def read_rows(project: Project, table: str, experiment_id: str | None = None) -> list[Row]:
    """Rows of a published table, of one experiment or of all."""
    from pyiceberg.expressions import AlwaysTrue, EqualTo

    from exp_platform.lake.catalog import load_handle

    which = EqualTo("experiment_id", experiment_id) if experiment_id else AlwaysTrue()
    rows: list[Row] = load_handle(project, table).scan(row_filter=which).to_arrow().to_pylist()
    return rows


def latest_dt_rows(rows: list[Row]) -> list[Row]:
    """The rows of each experiment's latest dt."""
    latest: dict[str, Any] = {}
    for row in rows:
        latest[row["experiment_id"]] = max(latest.get(row["experiment_id"], row["dt"]), row["dt"])
    return [row for row in rows if row["dt"] == latest[row["experiment_id"]]]


def print_grid(columns: Sequence[str], rows: Sequence[Sequence[str]], title: int = 1) -> None:
    """Print a table; on a terminal of under 100 columns each row as lines, its first `title` cells on the first."""
    if console.width >= NARROW:
        grid = Grid(*columns, box=None)
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
        return
    widest = max(map(len, columns[title:]), default=0)
    for row in rows:
        lines = [" ".join(cell for cell in row[:title] if cell)]
        for column, cell in zip(columns[title:], row[title:], strict=True):
            first, later = f"  {column:<{widest}}  ", " " * (widest + 4)
            lines += textwrap.wrap(cell, console.width, initial_indent=first, subsequent_indent=later)
        console.print("\n".join(lines), markup=False)


def print_json(content: Any) -> None:
    """Print a value as JSON: times and dates in ISO form, maps of a table as objects; a number that is none is null."""
    print(json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return {key: _plain(item) for key, item in value}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value


class SortKey(StrEnum):
    """The columns by which `exp list` can be sorted."""

    NEED = "need"
    EXPERIMENT = "experiment"
    NAME = "name"
    OWNER = "owner"
    STATUS = "status"
    AS_OF = "as-of"
    TRUST = "trust"
    DECISION = "decision"


SORT = typer.Option(
    SortKey.NEED,
    help="The column to sort by; as-of begins with the newest day, need is the order of the page of experiments: first "
    "what needs somebody.",
)


@app.command("list")
@for_people
def list_experiments(
    sort: SortKey = SORT,
    as_json: bool = typer.Option(False, "--json", help="One object an experiment, for programs."),
    config: str | None = CONFIG,
) -> None:
    """List the experiments with their latest trust and decision."""
    project = load_project(config)
    listed = sorted_by(sort, _listed(project))
    if sort is SortKey.NEED:
        listed = by_need(listed, project, datetime.now(UTC).date())
    if as_json:
        print_json(listed)
        return
    columns = ("experiment", "name", "owner", "status", "as of", "trust", "decision")
    print_grid(columns, [_shown(row) for row in listed])


def sorted_by(sort: SortKey, listed: list[Row]) -> list[Row]:
    """The experiments in order of a column, then of their ids; those without a value come last."""
    column = {
        SortKey.NEED: "experiment_id",
        SortKey.EXPERIMENT: "experiment_id",
        SortKey.AS_OF: "dt",
    }.get(sort, sort.value)
    by_id = sorted(listed, key=lambda row: str(row["experiment_id"]))
    there = [row for row in by_id if row[column] is not None]
    there.sort(key=lambda row: str(row[column]).casefold(), reverse=sort is SortKey.AS_OF)
    return there + [row for row in by_id if row[column] is None]


def by_need(listed: list[Row], project: Project, today: date) -> list[Row]:
    """The experiments in the order of the index; one that is not in it comes last."""
    from exp_platform.memo.index.page import in_order
    from exp_platform.memo.index.store import read_index, registered
    from exp_platform.memo.memo_files import memo_dir

    entries = in_order(read_index(memo_dir(project), registered(project)), today)
    place = {entry.experiment_id: i for i, entry in enumerate(entries)}
    return sorted(listed, key=lambda row: place.get(row["experiment_id"], len(place)))


def _listed(project: Project) -> list[Row]:
    """One row an experiment; a value that there is not yet is None, `refused` says why a file cannot be read."""
    latest = latest_dt_rows(read_rows(project, DECISION))
    decisions = {row["experiment_id"]: row for row in latest if row["variant_id"] == "all"}
    nothing = dict.fromkeys(("name", "owner", "status", "dt", "trust", "decision", "refused"))
    return [
        *(
            {"experiment_id": experiment_id, **nothing, "name": e.name, "owner": e.owner, "status": e.status}
            | {column: decisions.get(experiment_id, nothing)[column] for column in ("dt", "trust", "decision")}
            for experiment_id, e in project.experiments.items()
        ),
        *({"experiment_id": experiment_id, **nothing, "refused": why} for experiment_id, why in project.broken.items()),
    ]


def _shown(row: Row) -> list[str]:
    """The cells of one experiment in the list."""
    if row["refused"] is not None:
        return [row["experiment_id"], "", "", "refused", "", "", "see `exp validate`"]
    as_of = str(row["dt"]) if row["dt"] else "never run"
    return [
        row["experiment_id"],
        row["name"],
        row["owner"],
        row["status"],
        as_of,
        row["trust"] or "",
        row["decision"] or "",
    ]


def number(value: float | None, percent: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.2%}" if percent else f"{value:.4g}"
