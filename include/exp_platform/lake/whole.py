"""A file that appears whole or not at all, whoever else writes it at the same time."""

from __future__ import annotations

import os
import threading

from exp_platform.lake.store_path import Folder, StorePath


def write_whole(path: Folder, text: str) -> None:
    """Write the text beside the path, then put it in the path's place; a store does that by itself."""
    if isinstance(path, StorePath):
        path.write_text(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
