"""Translate Spark's error messages about a bad file or mapping expression into problems of the dataset."""

from __future__ import annotations

import re
from urllib.parse import unquote

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
        what = f"a mapping expression fails on a value ({value.group(1)}: {value.group(2)[:160]}); use try_cast"
        return Problem(dataset, "columns have their type", location, what)
    return None


def _reason(text: str) -> str:
    """Java's message of the innermost cause in brackets, such as a torn page, an unknown compression or an overflow."""
    causes = _CAUSE.findall(text)
    return f" ({causes[-1].strip()[:160]})" if causes else ""
