"""The cause of an error that came through Spark, in one sentence: its own first line often names only a call."""

from __future__ import annotations

import re

# A class with its message: `Caused by: java.net.ConnectException: Connection refused`, `ModuleNotFoundError: …`.
_CAUSED_BY = re.compile(r"^\s*Caused by: (?P<kind>[\w.$]+)(?:: (?P<said>.+))?$", re.MULTILINE)
_RAISED = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)): (?P<said>.+)$", re.MULTILINE)
_OF_THE_CALL = re.compile(r"^: (?P<kind>[\w.$]+)(?:: (?P<said>.+))?$", re.MULTILINE)
_WRAPPERS = ("PythonException", "SparkException", "Py4JJavaError", "RuntimeException", "ExecutionException")


def cause_of(error: BaseException) -> str:
    """The kind and the message of the innermost cause that an error's text tells of.

    >>> cause_of(ValueError("no such day"))
    'ValueError: no such day'
    """
    text = _text_of(error)
    for pattern in (_CAUSED_BY, _RAISED, _OF_THE_CALL):
        found = [match for match in pattern.finditer(text) if match["said"]]
        named = [match for match in found if _short(match["kind"]) not in _WRAPPERS] or found
        if named and _came_through_spark(error):
            return f"{_short(named[-1]['kind'])}: {named[-1]['said'].strip()}"
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else f"{type(error).__name__} without a message"


def _came_through_spark(error: BaseException) -> bool:
    return type(error).__module__.startswith(("py4j.", "pyspark."))


def _text_of(error: BaseException) -> str:
    """All that the error says; a Java error asks its JVM, which may be gone."""
    try:
        return f"{error}\n{getattr(error, '_stackTrace', None) or ''}"
    except Exception:
        return " ".join(map(str, error.args))


def _short(kind: str) -> str:
    return re.split(r"[.$]", kind)[-1]
