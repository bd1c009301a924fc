"""Append outcome events as ingest does: staged, then moved by one fenced commit."""

from __future__ import annotations

from typing import Any

from tests.lakes import DT, Lake

from exp_platform.lake.publication import Origin, fence_of
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.staging import commit_staged, discard, stage
from exp_platform.lake.tables import TABLES

OUTCOMES = "exp.outcomes"


def append_outcomes(lake: Lake, frame: Any, experiment_id: str, run_id: str) -> int:
    """The snapshot after the append."""
    handle = lake.handle(OUTCOMES)
    staged = stage(frame, TABLES[OUTCOMES], Scope(experiment_id, DT), handle, fence_of(handle, "main"))
    try:
        origin = Origin(run_id, "ingest_events", DT, "config", "code")
        return commit_staged(staged, "append", origin.summary()).snapshot_id
    finally:
        discard(staged)
