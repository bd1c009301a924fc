"""The files of memos: <memo_dir>/<ID>.{md,html,json} is the latest memo, <ID>/<dt>.* the memo of each dt.

`index.html` lists all latest memos and is written anew with each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.memo.index.store import registered, write_index
from exp_platform.memo.render import to_html, to_json, to_markdown
from exp_platform.memo.whole import write_whole

FORMATS = {"md": to_markdown, "html": to_html, "json": to_json}


def memo_dir(project: Project) -> Path:
    """The folder of all memos."""
    folder = project.resolve(project.profile.memo_dir)
    if "://" in folder:
        raise ConfigError(
            f"{project.path.name}: memo_dir: found {folder}, must be a folder (in a cluster, a mounted one)"
        )
    return Path(folder)


def latest_path(project: Project, experiment_id: str, suffix: str = "html") -> Path:
    """The path of an experiment's latest memo."""
    return memo_dir(project) / f"{experiment_id}.{suffix}"


def write_memo(project: Project, experiment_id: str, dt: date | None, content: Mapping[str, Any], latest: bool) -> Path:
    """Write the memo of a dt, also as the latest memo when `latest`; each file appears whole or not at all."""
    folder = memo_dir(project)
    for suffix, render in FORMATS.items():
        text = render(content)
        if dt is not None:
            write_whole(folder / experiment_id / f"{dt}.{suffix}", text)
        if latest:
            write_whole(folder / f"{experiment_id}.{suffix}", text)
    if latest:
        write_index(folder, registered(project), datetime.now(UTC).date())
    return latest_path(project, experiment_id) if latest else folder / experiment_id / f"{dt}.html"


def read_latest(project: Project, experiment_id: str) -> dict[str, Any] | None:
    """The content of the latest memo; None without one."""
    path = latest_path(project, experiment_id, "json")
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
