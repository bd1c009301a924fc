"""The platform's exceptions; each carries the exit code that a job ends with, and one sentence for a person."""

from __future__ import annotations


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
