"""Spark's way of saying that a file or an expression is at fault, as a sentence about that file or expression."""

from __future__ import annotations

import re
from urllib.parse import unquote

from exp_platform.ingest.problems import Problem

_FILE = re.compile(r"\[FAILED_READ_FILE[^\]]*\][^\n]*?(?:file|path):? ?((?:file|s3a):\S+?)[.,;]?(?:\s|$)")
_VALUE = re.compile(r"\[((?:CAST_INVALID_INPUT|ARITHMETIC_OVERFLOW|DIVIDE_BY_ZERO|CAST_OVERFLOW)[^\]]*)\] ([^\n]*)")


def problem_of(error: Exception, dataset: str, location: str) -> Problem | None:
    """A problem of the data when Spark's message shows one; None for a fault of the platform."""
    text = str(error)
    unreadable = _FILE.search(text)
    if unreadable:
        path = unquote(unreadable.group(1)).replace("file:///", "/").removeprefix("file:")
        what = "cannot be read to its end (damaged behind a sound footer)"
        return Problem(dataset, "files can be read", path, what)
    value = _VALUE.search(text)
    if value:
        what = f"a mapping expression fails on a value ({value.group(1)}: {value.group(2)[:160]}); use try_cast"
        return Problem(dataset, "columns have their type", location, what)
    return None
