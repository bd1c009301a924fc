"""The platform's exceptions; each carries the exit code that a job ends with, and one sentence for a person."""

from __future__ import annotations

import re
import textwrap

WIDTH = 80  # characters of a line in a log or a terminal; Airflow cuts longer ones off on a small screen
# A file or folder that stands before its problem: `configs/metrics/revenue.yaml:7: …`, `s3://raw/a.parquet: …`.
_PLACE = re.compile(r"(?:(?<=\A)|(?<=\s))((?:/|\w+://)\S+?|\S+\.(?:ya?ml|json|csv|parquet|db)(?::\d+)?):\s", re.ASCII)


class ExpError(Exception):
    """A fault of the platform; a retry may succeed."""

    exit_code = 1


class ConfigError(ExpError):
    """Wrong usage or configuration; the text names file, key, found and allowed values. A retry does not help."""

    exit_code = 64


class ContractViolation(ExpError):
    """Data break a contract; the text names table or file, rule and what to do. A retry does not help."""

    exit_code = 65


class StreamBlocked(ContractViolation):
    """A stream that the experiment reads is blocked; the stream has an alert of its own, the experiment needs none."""


class Superseded(ExpError):
    """A newer run of the same experiment holds the claim, so this run must not publish."""

    exit_code = 66


class FencedConflict(ExpError):
    """Another writer changed this experiment's rows between the stage's start and its commit; start the stage again."""

    exit_code = 75


def cause_first(text: str) -> str:
    """The text of an error in one line, with the cause at its beginning and the files it names at its end.

    >>> cause_first("configs/metrics/revenue.yaml:7: window.end_hours: found -1; must be above 0")
    'window.end_hours: found -1; must be above 0 (configs/metrics/revenue.yaml:7)'
    >>> cause_first("raw data are refused: outcomes: /data/raw/part-0.parquet: cannot be read; mend the files")
    'raw data are refused: outcomes: cannot be read; mend the files (/data/raw/part-0.parquet)'
    """
    return "; ".join(_cause_first(line) for line in text.strip().splitlines() if line.strip())


def _cause_first(line: str) -> str:
    places = dict.fromkeys(match.group(1) for match in _PLACE.finditer(line))
    cause = _PLACE.sub("", line).strip()
    return f"{cause} ({', '.join(places)})" if places and cause else line.strip()


def wrapped(text: str, width: int = WIDTH) -> str:
    """The text in lines of at most `width` characters, broken between words alone; all but the first are indented.

    >>> print(wrapped("no rows have a user_id (/data/raw/part-0.parquet)", 30))
    no rows have a user_id
      (/data/raw/part-0.parquet)
    """
    lines = [
        textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    ]
    return "\n".join(lines)
