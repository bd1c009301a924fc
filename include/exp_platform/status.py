"""The words for the outcomes of results, checks, guardrails and decisions; valid outcomes are values, not errors."""

from __future__ import annotations

from enum import StrEnum


class ResultStatus(StrEnum):
    """Status of a row of `exp.analysis_results`."""

    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    FAILED_PRETRENDS = "failed_pretrends"
    NOT_APPLICABLE = "not_applicable"


class CheckStatus(StrEnum):
    """Status of a data-quality or statistical check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class PretrendVerdict(StrEnum):
    """Verdict of a pre-trend test."""

    PASSED = "passed"
    FAILED = "failed"
    INSUFFICIENT_DATA = "insufficient_data"


class GuardrailStatus(StrEnum):
    """Status of a guardrail; it passes only by evidence, never for lack of evidence of harm."""

    PASS = "pass"  # noqa: S105  a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Trust(StrEnum):
    """Trust in a result: may its numbers be used for a decision?"""

    TRUSTED = "trusted"
    CAUTION = "caution"
    NOT_TRUSTED = "not_trusted"


class Decision(StrEnum):
    """The decision on an arm or an experiment, in order of precedence: the first that applies is taken."""

    INVALID = "invalid"
    STOP = "stop"
    INSUFFICIENT_DATA = "insufficient_data"
    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    KEEP_RUNNING = "keep_running"
    INCONCLUSIVE = "inconclusive"


class Method(StrEnum):
    """Method by which an effect is estimated."""

    AB = "ab"
    CUPED = "cuped"
    DID = "did"
    # All from the assignment on, whatever the analysis mode; none of them decides.
    ITT = "itt"
    EXPOSED = "exposed"
    COMPLIER = "complier"
    DILUTED = "diluted"
