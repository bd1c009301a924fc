"""ops.sealed_plan: the plan of each experiment as it was at the start, and its amendments; no row is ever replaced.

Only the effect of an amendment on the verdict is filled in later, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException

from exp_platform.config.load import Project
from exp_platform.errors import FencedConflict
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import overwrite_rows, read_rows
from exp_platform.lake.tables.names import SEALED_PLAN

Row = dict[str, Any]
_ATTEMPTS = 20


def seal_rows(project: Project, experiment_id: str, catalog: Catalog | None = None) -> list[Row]:
    """The rows of one experiment, in the order of their seals."""
    return in_order(read_rows(load_handle(project, SEALED_PLAN, catalog), {"experiment_id": experiment_id}))


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows of one experiment in the order of their seals."""
    return sorted(rows, key=lambda row: row["seal"])


def write_seal(
    project: Project, experiment_id: str, take: Callable[[list[Row]], Row | None], catalog: Catalog | None = None
) -> Row | None:
    """Let `take` decide on the present rows, and write the row that it gives; who lost a race decides again."""
    for _ in range(_ATTEMPTS):
        handle = load_handle(project, SEALED_PLAN, catalog)
        row = take(in_order(read_rows(handle, {"experiment_id": experiment_id})))
        if row is None:
            return None
        try:
            key = {"experiment_id": experiment_id, "seal": row["seal"]}
            overwrite_rows(handle, SEALED_PLAN, key, [row], experiment_id=experiment_id, run_id=row["run_id"])
            return row
        except (ValidationException, CommitFailedException):
            continue
    raise FencedConflict(
        f"{SEALED_PLAN}: the plan of {experiment_id} could not be sealed: others wrote the table {_ATTEMPTS} times "
        "meanwhile; start the stage again"
    )


def fill_effect(
    project: Project, experiment_id: str, seal: int, effect: str, catalog: Catalog | None = None
) -> Row | None:
    """Write the effect of an amendment on the verdict, unless the row has one."""

    def take(rows: list[Row]) -> Row | None:
        row = next((row for row in rows if row["seal"] == seal), None)
        return row | {"effect_on_verdict": effect} if row and row["effect_on_verdict"] is None else None

    return write_seal(project, experiment_id, take, catalog)
