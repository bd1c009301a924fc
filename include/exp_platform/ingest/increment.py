"""The raw files that a run has to read: the new ones, or all when a file that was read has changed or is gone."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from exp_platform.ingest.raw_files import RawFile

Mode = Literal["unchanged", "append", "whole"]


@dataclass(frozen=True)
class IngestedFile:
    """One file whose events are in the lake: size and fingerprint as it was read, number of rows and refused rows."""

    path: str
    size: int
    fingerprint: str
    rows: int
    refused: int


@dataclass(frozen=True)
class ReadPlan:
    """The files to read and why; `append` adds the events of new files, `whole` replaces the experiment's dataset."""

    mode: Mode
    read: tuple[RawFile, ...]
    unchanged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    reason: str = ""


def plan(present: Sequence[RawFile], known: Mapping[str, IngestedFile], full: str = "") -> ReadPlan:
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
        return ReadPlan("whole", tuple(present), (), changed, vanished, "; ".join(reasons))
    if not known:
        return ReadPlan(
            "whole" if present else "unchanged", tuple(present), reason="first read" if present else "no files"
        )
    return ReadPlan("append" if new else "unchanged", new, unchanged)


def encode_files(files: Iterable[IngestedFile]) -> str:
    """Encode a list of files, compressed, as one property of a snapshot's summary."""
    text = json.dumps([asdict(file) for file in sorted(files, key=lambda f: f.path)], separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def decode_files(text: str) -> list[IngestedFile]:
    """Decode the list of files that `encode_files` has encoded."""
    return [IngestedFile(**row) for row in json.loads(zlib.decompress(base64.b64decode(text)))]


def known_files(
    recorded: Iterable[IngestedFile], committed: Iterable[IngestedFile], committed_mode: str | None
) -> dict[str, IngestedFile]:
    """Path -> file, for the files whose events the table holds: `ops.ingested_files`, corrected by the last snapshot.

    The snapshot's own list is committed with the events and `ops.ingested_files` after them, so a run that was killed
    in between has left only the list.
    """
    if committed_mode == "overwrite":
        return {file.path: file for file in committed}
    return {file.path: file for file in (*recorded, *committed)}


def _differs(now: RawFile, then: IngestedFile) -> bool:
    """True when the file itself has changed.

    A fingerprint is `<file>.<contract>`; the contract's half does not count here.
    """
    return (now.size, now.fingerprint.split(".")[0]) != (then.size, then.fingerprint.split(".")[0])


def _some(paths: Sequence[str], limit: int = 3) -> str:
    rest = f" and {len(paths) - limit} more" if len(paths) > limit else ""
    return ", ".join(paths[:limit]) + rest
