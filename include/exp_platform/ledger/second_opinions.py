"""ops.second_opinions: what a second implementation found when it computed a run's numbers again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.tables.names import SECOND_OPINIONS

Row = Mapping[str, Any]
NOTHING = "*"  # in place of a metric and of an arm, where no number of a run could be checked


@dataclass(frozen=True)
class SecondOpinion:
    """The verdicts on one run, added up."""

    run_id: str
    dt: date
    checked_at: datetime
    compared: int
    differ: int
    not_checked: int
    metrics: tuple[str, ...] = ()  # with a number that differs
    detail: str = ""  # the first differences, or why nothing was checked

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.compared:
            return f"not checked by a second implementation: {self.detail or 'no metric has a second version'}"
        return f"{self.compared:,} numbers checked by a second implementation, {self.differ:,} differ"


def opinion_rows(project: Project, experiment_id: str) -> list[dict[str, Any]]:
    """All verdicts on the experiment's runs."""
    return read_rows(load_handle(project, SECOND_OPINIONS), {"experiment_id": experiment_id})


def write_opinion(project: Project, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the verdicts on the metrics that were checked; those of other nights on the same run stay."""
    first = rows[0]
    metrics = {row["metric_name"] for row in rows} | {NOTHING}
    key = {"experiment_id": first["experiment_id"], "run_id": first["run_id"], "metric_name": metrics}
    replace_rows(project, SECOND_OPINIONS, key, list(rows))


def last_opinion(rows: Iterable[Row], run_id: str, dt: date) -> SecondOpinion | None:
    """The verdict that holds for a run: its own, else that of the run that was checked last, of this day or before.

    A difference holds until a later run's numbers were checked and agreed: what broke them may still be there.
    """
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        if row["run_id"] == run_id or row["dt"] <= dt:
            by_run.setdefault(row["run_id"], []).append(row)
    if not by_run:
        return None
    newest = max(by_run, key=lambda one: max(row["checked_at"] for row in by_run[one]))
    chosen = by_run.get(run_id, by_run[newest])
    bad = sorted((row for row in chosen if row["differ"]), key=lambda row: (row["metric_name"], row["variant_id"]))
    return SecondOpinion(
        chosen[0]["run_id"],
        chosen[0]["dt"],
        max(row["checked_at"] for row in chosen),
        compared=sum(row["compared"] for row in chosen),
        differ=sum(row["differ"] for row in chosen),
        not_checked=sum(row["not_checked"] for row in chosen),
        metrics=tuple(dict.fromkeys(row["metric_name"] for row in bad)),
        detail="; ".join(row["detail"] for row in (bad or chosen)[:1]),
    )
