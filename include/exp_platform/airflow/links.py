"""Buttons on a task's page that lead to what a person wants to read next."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGES = "/experiments"  # where the plugin serves memos and data docs


def memo_path(experiment_id: str, dt: str | None = None) -> str:
    """Path on the Airflow server of an experiment's latest memo, or of what was said as of a day."""
    name = quote(experiment_id, safe="")
    return f"{PAGES}/memos/{name}/{dt}.html" if dt else f"{PAGES}/memos/{name}.html"


class MemoLink(BaseOperatorLink):
    """The experiment's decision memo as of the run's day; the latest until that is written."""

    name = "Memo"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Path on this server; empty while the run is not resolved."""
        experiment_id = getattr(operator, "experiment_id", None)
        return memo_path(experiment_id, getattr(operator, "memo_dt", None)) if experiment_id else ""


class DataDocsLink(BaseOperatorLink):
    """What the contracts check, and how the latest checks went."""

    name = "Data docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Path on this server."""
        return f"{PAGES}/docs/"
