"""Valid outcomes are values, not exceptions: the words that results, checks and decisions are written in."""

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
    """A guardrail passes by evidence, not by the absence of it."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Trust(StrEnum):
    """Can the result be believed at all?"""

    TRUSTED = "trusted"
    CAUTION = "caution"
    NOT_TRUSTED = "not_trusted"


class Decision(StrEnum):
    """What should we do? Ordered by precedence; the first that applies is taken."""

    INVALID = "invalid"
    STOP = "stop"
    INSUFFICIENT_DATA = "insufficient_data"
    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    KEEP_RUNNING = "keep_running"
    INCONCLUSIVE = "inconclusive"


class Method(StrEnum):
    """How an effect is estimated."""

    AB = "ab"
    CUPED = "cuped"
    DID = "did"
