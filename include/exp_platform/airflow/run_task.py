"""Tasks of a run that are no Spark application: small functions, with the button that leads to the run's memo."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from exp_platform.airflow.links import MemoLink

if TYPE_CHECKING:
    from airflow.sdk import Context

# A verdict is final, because AirflowFailException is never retried; other errors, such as a lost connection, are.
HICCUPS: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=20)}


class RunTask(BaseOperator):
    """Calls a function; its page shows the button to the memo of the run's experiment and day, also when it failed."""

    operator_extra_links = (MemoLink(),)

    def __init__(self, *, call: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(task_id=call.__name__, doc_md=call.__doc__, **HICCUPS, **kwargs)
        self.call = call
        self.experiment_id: str | None = None  # like memo_dt set when the task runs; the link reads both
        self.memo_dt: str | None = None

    def execute(self, context: Context) -> None:
        """Find out what the run is about, then call the function."""
        if run := context["ti"].xcom_pull(task_ids="resolve_run"):
            self.experiment_id, self.memo_dt = run["experiment_id"], run["dt"]
        self.call()


def run_task(**settings: Any) -> Callable[[Callable[[], None]], Callable[[], RunTask]]:
    """A decorator: the function becomes one that makes the task of its name."""

    def decorate(call: Callable[[], None]) -> Callable[[], RunTask]:
        return lambda: RunTask(call=call, **settings)

    return decorate
