"""Buttons on a task's page that lead to the memo and to data docs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGES = "/experiments"  # where the plugin serves memos and data docs


def memo_path(experiment_id: str, dt: str | None = None) -> str:
    """Path on the Airflow server of an experiment's latest memo, or of the memo of a dt."""
    name = quote(experiment_id, safe="")
    return f"{PAGES}/memos/{name}/{dt}.html" if dt else f"{PAGES}/memos/{name}.html"


class MemoLink(BaseOperatorLink):
    """The button to the memo of the run's dt; until that is written, the page shows the latest memo."""

    name = "Memo"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The path of the memo's page; empty while the run is not resolved."""
        experiment_id = getattr(operator, "experiment_id", None)
        return memo_path(experiment_id, getattr(operator, "memo_dt", None)) if experiment_id else ""


class DriverLogLink(BaseOperatorLink):
    """The button to the driver's log, of a job that did not run beside its task."""

    name = "Driver's log"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address of the log; empty when the log is the task's own."""
        return str(getattr(operator, "log_link", ""))


class DataDocsLink(BaseOperatorLink):
    """The button to data docs, which show the rules of each table and the findings of the latest audits."""

    name = "Data docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The path of the first page of data docs."""
        return f"{PAGES}/docs/"
