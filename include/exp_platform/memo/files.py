"""The files of memos: <memo_dir>/<ID>.{md,html,json} is the latest memo, <ID>/<dt>.* the memo of each dt."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.memo.render import to_html, to_json, to_markdown

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
            _replace(folder / experiment_id / f"{dt}.{suffix}", text)
        if latest:
            _replace(folder / f"{experiment_id}.{suffix}", text)
    return latest_path(project, experiment_id) if latest else folder / experiment_id / f"{dt}.html"


def read_latest(project: Project, experiment_id: str) -> dict[str, Any] | None:
    """The content of the latest memo; None without one."""
    path = latest_path(project, experiment_id, "json")
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
