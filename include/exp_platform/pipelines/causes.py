"""The cause of an error that came through Spark, in one sentence: its own first line often names only a call."""

from __future__ import annotations

import re

# A class with its message: `Caused by: java.net.ConnectException: Connection refused`, `ModuleNotFoundError: …`.
_CAUSED_BY = re.compile(r"^\s*Caused by: (?P<kind>[\w.$]+)(?:: (?P<said>.+))?$", re.MULTILINE)
_RAISED = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)): (?P<said>.+)$", re.MULTILINE)
_OF_THE_CALL = re.compile(r"^: (?P<kind>[\w.$]+)(?:: (?P<said>.+))?$", re.MULTILINE)
# Faults of the places that a stage needs: what libraries say of each, and the sentence for a person; the first counts.
_PLACES = (
    (
        r"AWS Error (ACCESS_DENIED|SIGNATURE_DOES_NOT_MATCH|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID)"
        r"|SignatureDoesNotMatch|InvalidAccessKeyId|Service: S3, Status Code: 403",
        "the object store refused the key: check object_store.access_key and object_store.secret_key of the profile, "
        "and what the key may do",
    ),
    (
        r"AWS Error NETWORK_CONNECTION|SdkClientException: Unable to execute HTTP request",
        "the object store did not answer: start the stage again when it does",
    ),
    (
        r'password authentication failed for user "(?P<user>[^"]+)"',
        "the catalog's database refused the password of {user}: check catalog.password of the profile",
    ),
    (
        r"connection to server at [^\n]+ failed|PSQLException: Connection to \S+ refused|terminating connection due to"
        r"|server closed the connection unexpectedly|PSQLException: (An I/O error|This connection has been closed)"
        r"|the database system is (starting up|shutting down|in recovery)",
        "the catalog's database did not answer: start the stage again when it does",
    ),
    (
        r"\(TID \d+\) \((?P<host>\S+) executor (?P<executor>\w+)\):[^\n]*No space left on device",
        "no space is left on a disk of {host} (executor {executor}): free it or stop that worker, and start the stage "
        "again",
    ),
    (r"No space left on device", "no space is left on a disk of this machine: free it, and start the stage again"),
)
_WRAPPERS = ("PythonException", "SparkException", "Py4JJavaError", "RuntimeException", "ExecutionException")


def cause_of(error: BaseException) -> str:
    """The sentence for a fault of a place, else kind and message of the innermost cause that an error's text tells of.

    >>> cause_of(ValueError("no such day"))
    'ValueError: no such day'
    """
    text = _text_of(error)
    for said, sentence in _PLACES:
        if place := re.search(said, text):
            return sentence.format(**place.groupdict())
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
