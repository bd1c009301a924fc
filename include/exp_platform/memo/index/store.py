"""Files of the index: `index.html` beside the memos, and `index-entries.json` with the entries that it was made of.

The memos' JSON files are the truth. An entry is kept with the size and time of its file and is made anew when they
differ, so that two writers at once can lose nothing but a kept entry. In a store an entry is kept only once its memo
is two seconds older than the kept entries, by the store's own clock. Who has written the page looks at the files
again, and writes once more if one of them has changed: the page that is written last has seen every memo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from exp_platform.config.load import Project
from exp_platform.lake.store_path import Folder
from exp_platform.lake.whole import write_whole
from exp_platform.memo.index import entry as entries
from exp_platform.memo.index.entry import Entry
from exp_platform.memo.index.page import page

PAGE, KEPT = "index.html", "index-entries.json"  # an experiment's id has no hyphen
VERSION = 2  # of kept entries; raised when a memo is reduced to other facts
Stamp = tuple[int, int, int]  # size, time and number of a file; in an object store no file has a number
SETTLED_NS = 2_000_000_000  # a store's times are whole seconds: a younger file may change and keep its stamp
READERS = 16  # requests to a store at a time
Kept = Mapping[str, tuple[Stamp, Entry]]


@dataclass(frozen=True)
class Registered:
    """An experiment of the registry, as the index needs it."""

    experiment_id: str
    title: str
    owner: str
    status: str
    refused: str = ""  # why its file is refused


def registered(project: Project) -> tuple[Registered, ...]:
    """Every experiment of the registry, those whose file is refused included."""
    read = (Registered(key, e.name, e.owner, e.status) for key, e in project.experiments.items())
    refused = (Registered(key, key, "", "", refused=why) for key, why in project.broken.items())
    return (*read, *refused)


def write_index(folder: Folder, registry: tuple[Registered, ...], today: date) -> Folder:
    """Write the page of all memos in the folder; also after other writers have changed a memo meanwhile."""
    while True:
        seen = _stamps(folder)
        found = _entries(folder, seen)
        write_whole(folder / KEPT, _to_text(found))
        write_whole(folder / PAGE, page(listed(found, registry), today))
        if _stamps(folder) == seen:
            return folder / PAGE


def read_index(folder: Folder, registry: tuple[Registered, ...]) -> tuple[Entry, ...]:
    """The entries of all experiments as they are now, without writing."""
    return listed(_entries(folder, _stamps(folder)), registry)


def listed(found: Kept, registry: tuple[Registered, ...]) -> tuple[Entry, ...]:
    """All experiments: those with a memo, under their present status, and those of the registry without one."""
    known = {one.experiment_id: one for one in registry}
    shown = []
    for key, (_, entry) in found.items():
        one = known.get(key)
        shown.append(entries.of_the_registry(entry, one.status) if one and not one.refused else entry)
    absent = [one for one in registry if one.experiment_id not in found]
    shown += [entries.without_memo(one.experiment_id, one.title, one.owner, one.status, one.refused) for one in absent]
    return tuple(shown)


def _stamps(folder: Folder) -> dict[str, Stamp]:
    """Experiment id -> stamp of its memo's JSON; a file that is just being replaced counts with the next look."""
    found = {}
    files: list[Folder] = [*folder.glob("*.json")]
    for file in sorted(files, key=str):
        if file.name != KEPT and not file.name.startswith("."):
            about = file.stat()
            found[file.stem] = (about.st_size, about.st_mtime_ns, about.st_ino)
    return found


def _entries(folder: Folder, stamps: Mapping[str, Stamp]) -> Kept:
    kept = _kept(folder)
    changed = [key for key, stamp in stamps.items() if key not in kept or kept[key][0] != stamp]
    with ThreadPoolExecutor(READERS) as readers:
        read = dict(zip(changed, readers.map(_reduced, [folder / f"{key}.json" for key in changed]), strict=True))
    return {key: (stamp, read[key]) if key in read else kept[key] for key, stamp in stamps.items()}


def _reduced(file: Folder) -> Entry:
    try:
        found = entries.entry_of(json.loads(file.read_text(encoding="utf-8")))
        return replace(found, experiment_id=file.stem)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as broken:  # one bad file hides no other memo
        return entries.unreadable(file.stem, f"{type(broken).__name__} {broken}")


def _kept(folder: Folder) -> dict[str, tuple[Stamp, Entry]]:
    """The kept entries; none where there is no such file, or one that this version did not write."""
    try:
        content = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            return {}
        rows: list[dict[str, Any]] = content["entries"]
        found = {row["entry"]["experiment_id"]: (_stamp(row["stamp"]), entries.from_json(row["entry"])) for row in rows}
        settled = (folder / KEPT).stat().st_mtime_ns - SETTLED_NS
        return {key: one for key, one in found.items() if one[0][2] or one[0][1] <= settled}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _stamp(numbers: list[int]) -> Stamp:
    size, time, number = numbers
    return size, time, number


def _to_text(found: Kept) -> str:
    rows = [{"stamp": stamp, "entry": entries.to_json(entry)} for stamp, entry in found.values()]
    return json.dumps({"version": VERSION, "entries": rows}, ensure_ascii=False) + "\n"
