"""Translate Spark's error messages about a bad file or mapping expression into problems of the dataset."""

from __future__ import annotations

import re
from urllib.parse import unquote

from exp_platform.errors import ExpError
from exp_platform.ingest.problems import Problem

_FILE = re.compile(r"\[FAILED_READ_FILE[^\]]*\][^\n]*?(?:file|path):? ?((?:file|s3a):\S+?)[.,;]?(?:\s|$)")
_VALUE = re.compile(r"\[((?:CAST_INVALID_INPUT|ARITHMETIC_OVERFLOW|DIVIDE_BY_ZERO|CAST_OVERFLOW)[^\]]*)\] ([^\n]*)")
_CAUSE = re.compile(r"^Caused by: (?:[\w$]+[.])*([^\n]+)", re.MULTILINE)

_STORE = re.compile(
    "AWS Error (?!ACCESS_DENIED)|SdkClientException|AWSClientIOException|SocketTimeoutException|ConnectException"
    "|UnknownHostException|NoHttpResponseException"
)


def is_of_the_store(text: str) -> bool:
    """True when the object store did not answer: the file may be sound, and another attempt may succeed.

    >>> is_of_the_store("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7")
    True
    >>> is_of_the_store("Couldn't deserialize thrift: TProtocolException: Invalid data")
    False
    """
    return _STORE.search(text) is not None


def may_be_of_a_value(error: Exception) -> bool:
    """True for an error of the engine on a row, which may come from an expression of a mapping.

    >>> may_be_of_a_value(ValueError("[CAST_INVALID_INPUT]")), may_be_of_a_value(ExpError("unknown arm"))
    (True, False)
    """
    text = str(error)
    return not isinstance(error, ExpError) and not is_of_the_store(text) and _FILE.search(text) is None


def problem_of(error: Exception, dataset: str, location: str) -> Problem | None:
    """The problem of the data that Spark's message names; None for a fault of the platform."""
    text = str(error)
    unreadable = _FILE.search(text)
    if unreadable and not is_of_the_store(text):
        path = unquote(unreadable.group(1)).replace("file:///", "/").removeprefix("file:")
        what = f"cannot be read to its end, although its footer is sound{_reason(text)}"
        return Problem(dataset, "files can be read", path, what)
    value = _VALUE.search(text)
    if value:
        what = f"an expression fails on a value ({value.group(1)}: {value.group(2)[:160]}); use try_cast"
        return Problem(dataset, "columns have their type", location, what)
    return None


def reason_of(error: Exception) -> str:
    """The engine's own sentence, without its class in brackets, its number, and its advice, but with its guess.

    >>> reason_of(Exception("\\n[PARSE_SYNTAX_ERROR] Syntax error at or near end of input. SQLSTATE: 42601 (line 1)"))
    'Syntax error at or near end of input.'
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = re.sub(r"\s*SQLSTATE: \w+.*$", "", re.sub(r"^\[[A-Z_.0-9]+\]\s*", "", line))
    first, *rest = re.split(r"(?<=[.?])\s+(?=[A-Z])", line)
    return " ".join([first, *(sentence for sentence in rest if sentence.startswith("Did you mean"))])[:300]


def _reason(text: str) -> str:
    """Java's message of the innermost cause in brackets, such as a torn page, an unknown compression or an overflow."""
    causes = _CAUSE.findall(text)
    return f" ({causes[-1].strip()[:160]})" if causes else ""
