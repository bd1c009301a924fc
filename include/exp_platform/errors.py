"""One flat family of exceptions; each carries the exit code that a job ends with and one sentence for a person."""

from __future__ import annotations


class ExpError(Exception):
    """A fault of the platform that a retry may mend."""

    exit_code = 1


class ConfigError(ExpError):
    """Bad usage or config: names the file, the key, what was found and what is allowed. No retry helps."""

    exit_code = 64


class ContractViolation(ExpError):
    """Data breaks a contract: names the table or file, the rule and what to do. No retry helps."""

    exit_code = 65


class Superseded(ExpError):
    """A newer run of the same experiment holds the claim; this one must not publish."""

    exit_code = 66


class FencedConflict(ExpError):
    """Somebody changed this experiment's rows between the stage's start and its commit; start the stage once more."""

    exit_code = 75
