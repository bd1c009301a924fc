"""When a broken contract blocks a run: the last numbers stay, and above them stands why they are old."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from exp_platform.config.load import Project
from exp_platform.memo import words
from exp_platform.memo.files import latest_path, read_latest, write_memo


def write_blocked_memo(project: Project, experiment_id: str, dt: date, run_id: str, stage: str, sentence: str) -> Path:
    """Put the block above the latest memo; `since` stays the first blocked dt until a run gets through."""
    last = read_latest(project, experiment_id)
    if last and last["dt"] and dt.isoformat() < last["dt"]:
        return latest_path(project, experiment_id)  # a backfill that fails says nothing about the latest numbers
    before = (last or {}).get("blocked")
    first_line = (sentence.strip().splitlines() or ["a contract is broken"])[0]
    blocked = {
        "since": before["since"] if before else dt.isoformat(),
        "dt": dt.isoformat(),
        "stage": stage,
        "run_id": run_id,
        "sentence": first_line,
    }
    content = (last or _empty(project, experiment_id)) | {"blocked": blocked}
    return write_memo(project, experiment_id, None, content, latest=True)


def _empty(project: Project, experiment_id: str) -> dict[str, Any]:
    """A memo without numbers."""
    e = project.experiment(experiment_id)
    return {
        "experiment": {
            "id": e.experiment_id,
            "name": e.name,
            "owner": e.owner,
            "hypothesis": e.hypothesis,
            "start": words.moment(e.start_ts),
            "end": words.moment(e.end_ts),
        },
        "dt": None,
        "answer": None,
    }
