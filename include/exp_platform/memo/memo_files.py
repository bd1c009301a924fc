"""The files of memos: <memo_dir>/<ID>.{md,html,json} is the latest memo, <ID>/<dt>.* the memo of each dt.

`index.html` lists all latest memos and is written anew with each of them. <memo_dir> is a folder, or a place in the
object store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from exp_platform.config.load import Project
from exp_platform.lake.store_path import Folder, page_folder
from exp_platform.lake.whole import write_whole
from exp_platform.memo.index.store import registered, write_index
from exp_platform.memo.render import to_html, to_json, to_markdown

FORMATS = {"md": to_markdown, "html": to_html, "json": to_json}


def memo_dir(project: Project) -> Folder:
    """The folder of all memos."""
    return page_folder(project, project.profile.memo_dir)


def latest_path(project: Project, experiment_id: str, suffix: str = "html") -> Folder:
    """The path of an experiment's latest memo."""
    return memo_dir(project) / f"{experiment_id}.{suffix}"


def write_memo(
    project: Project, experiment_id: str, dt: date | None, content: Mapping[str, Any], latest: bool
) -> Folder:
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
    return read_json(latest_path(project, experiment_id, "json"))


def read_json(path: Folder) -> dict[str, Any] | None:
    """The content of a memo's JSON file; None without the file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content
