"""The metadata files of a table as they lie in the warehouse, whatever the catalog says."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyarrow import fs

from exp_platform.config.load import Project
from exp_platform.lake.raw_zone import filesystem

_NAME = re.compile(r"(\d+)-[^/]*\.metadata\.json$")


def metadata_files(project: Project, location: str) -> list[str]:
    """Locations of the metadata files of the table that is stored at a location; empty where there is none."""
    files, folder = filesystem(project, f"{location}/metadata")
    found = files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    names = (info.base_name for info in found if info.type == fs.FileType.File)
    return sorted(f"{location}/metadata/{name}" for name in names if _NAME.search(name))


def newest(paths: Iterable[str]) -> list[str]:
    """The files with the highest number: the present state of the table is one of them.

    There are several where a writer lost a race for the last commit and its file was left behind.

    >>> newest(["t/metadata/00009-a.metadata.json", "t/metadata/00010-b.gz.metadata.json"])
    ['t/metadata/00010-b.gz.metadata.json']
    """
    numbered = [(int(match.group(1)), path) for path in paths if (match := _NAME.search(path))]
    highest = max((number for number, _ in numbered), default=0)
    return [path for number, path in numbered if number == highest]
