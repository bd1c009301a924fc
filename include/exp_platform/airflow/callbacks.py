"""The callback that Airflow calls when a run fails."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


def alert_crash(context: Any) -> None:
    """Send the alerts of a failed run when its task `alert` could not."""
    from exp_platform.airflow.alerting import alert_crashed_run

    try:
        alert_crashed_run(context)
    except Exception:
        log.exception("the alert for the failed run %s could not be recorded or sent", context.get("run_id"))
