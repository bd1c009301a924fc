"""Which raw files a run has to read: only new ones, unless a file that was read has changed or is gone."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from exp_platform.ingest.files import RawFile

Mode = Literal["unchanged", "append", "whole"]


@dataclass(frozen=True)
class IngestedFile:
    """One file that is in the lake: as it was when it was read, its rows and how many of them were refused."""

    path: str
    size: int
    fingerprint: str
    rows: int
    refused: int


@dataclass(frozen=True)
class Plan:
    """What to read, and why. `append` adds the new files' events; `whole` replaces the dataset of the experiment."""

    mode: Mode
    read: tuple[RawFile, ...]
    unchanged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    reason: str = ""


def plan(present: Sequence[RawFile], known: Mapping[str, IngestedFile], full: str = "") -> Plan:
    """Compare the files now present with those read before; `full` is a reason to read everything again."""
    now = {file.path: file for file in present}
    vanished = tuple(sorted(known.keys() - now.keys()))
    both = sorted(known.keys() & now.keys())
    changed = tuple(path for path in both if _differs(now[path], known[path]))
    unchanged = tuple(path for path in both if path not in set(changed))
    new = tuple(file for file in present if file.path not in known)
    reasons = [full] if full else []
    if changed:
        reasons.append(f"{len(changed)} changed ({_some(changed)})")
    if vanished:
        reasons.append(f"{len(vanished)} vanished ({_some(vanished)})")
    if known and reasons:
        return Plan("whole", tuple(present), (), changed, vanished, "; ".join(reasons))
    if not known:
        return Plan("whole" if present else "unchanged", tuple(present), reason="first read" if present else "no files")
    return Plan("append" if new else "unchanged", new, unchanged)


def encode_files(files: Iterable[IngestedFile]) -> str:
    """The file list as one short property of a snapshot's summary."""
    text = json.dumps([asdict(file) for file in sorted(files, key=lambda f: f.path)], separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def decode_files(text: str) -> list[IngestedFile]:
    """What `encode_files` wrote."""
    return [IngestedFile(**row) for row in json.loads(zlib.decompress(base64.b64decode(text)))]


def known_files(
    recorded: Iterable[IngestedFile], committed: Iterable[IngestedFile], committed_mode: str | None
) -> dict[str, IngestedFile]:
    """What is in the table: `ops.ingested_files`, mended by the last snapshot's own list.

    The list is committed with the events, the record after them: of a run that was killed between the two, only the
    list is left.
    """
    if committed_mode == "overwrite":
        return {file.path: file for file in committed}
    return {file.path: file for file in (*recorded, *committed)}


def _differs(now: RawFile, then: IngestedFile) -> bool:
    """A fingerprint is the file's own, a dot, and the contract's that it was read under: only the former counts."""
    return (now.size, now.fingerprint.split(".")[0]) != (then.size, then.fingerprint.split(".")[0])


def _some(paths: Sequence[str], limit: int = 3) -> str:
    rest = f" and {len(paths) - limit} more" if len(paths) > limit else ""
    return ", ".join(paths[:limit]) + rest
