"""The last word of a job whose driver runs elsewhere: exit code and sentence, as a file that its submitter reads.

A cluster tells its own exit code, or none, and keeps the log of the driver. $EXP_LAST_WORD names the file; a job that
is started beside its task has no such variable, because its output is read as it comes.
"""

from __future__ import annotations

import json
import os
import posixpath
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError
from exp_platform.lake.raw_zone import filesystem

VARIABLE = "EXP_LAST_WORD"


@dataclass(frozen=True)
class LastWord:
    """How a job ended, in its own words."""

    exit_code: int
    sentence: str  # one line


def leave(exit_code: int, sentence: str, argv: Sequence[str] | None = None) -> None:
    """Write the file that $EXP_LAST_WORD names; a fault while doing so is printed, and the job ends as it would."""
    place = os.environ.get(VARIABLE)
    if not place:
        return
    try:
        files, path = _file_system(place, sys.argv if argv is None else argv)
        if isinstance(files, fs.LocalFileSystem):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with files.open_output_stream(path) as stream:
            stream.write(json.dumps({"exit_code": exit_code, "sentence": sentence}).encode())
    except Exception as error:
        print(f"the last word could not be left in {place}: {type(error).__name__}: {error}", file=sys.stderr)


def take(project: Project, place: str) -> LastWord | None:
    """Read the file and delete it; None where the job has left none."""
    files, path = filesystem(project, place)
    try:
        with files.open_input_stream(path) as stream:
            content = json.loads(stream.read())
        word = LastWord(int(content["exit_code"]), str(content["sentence"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    with suppress(OSError):  # a file that stays is never read again: each attempt has one of its own
        files.delete_file(path)
    return word


def place_of(project: Project, attempt: str) -> str:
    """The file of one attempt in the folder `submit.outcomes` of the profile."""
    return posixpath.join(project.resolve(project.profile.submit.outcomes or ""), f"{attempt}.json")


def _file_system(place: str, argv: Sequence[str]) -> tuple[fs.FileSystem, str]:
    """The store of the profile that the job reads; a refused profile leaves the machine's own credentials."""
    config = next((word.removeprefix("--config=") for word in argv if word.startswith("--config=")), None)
    try:
        return filesystem(load_project(config, only=()), place)
    except ConfigError:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(place.replace("s3a://", "s3://", 1))
        return found
