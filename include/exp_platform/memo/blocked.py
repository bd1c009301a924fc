"""The memo of a blocked run: the numbers of the last finished run, under a banner that says why they are old."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from exp_platform.config.load import Project
from exp_platform.memo import words
from exp_platform.memo.files import latest_path, read_latest, write_memo


def write_blocked_memo(project: Project, experiment_id: str, dt: date, run_id: str, stage: str, sentence: str) -> Path:
    """Write the latest memo again with the banner; `since` is the first dt blocked since a run last finished."""
    last = read_latest(project, experiment_id)
    if last and last["dt"] and dt.isoformat() < last["dt"]:
        return latest_path(project, experiment_id)  # a blocked backfill does not concern the latest numbers
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
    """The content of a memo without numbers, for an experiment that no run has finished."""
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
