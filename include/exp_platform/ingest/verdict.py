"""The verdict on one dataset from counts of its rows: are there enough valid rows to publish?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exp_platform.ingest.increment import ReadPlan
from exp_platform.ingest.problems import Problem, named
from exp_platform.lake.row_audit import Finding


@dataclass(frozen=True)
class Tally:
    """Counts of one dataset's rows in the files now present: all, refused, distinct and late ones."""

    rows: int  # rows in all files
    refused: int  # rows that break a rule, duplicates included
    refused_distinct: int
    valid_distinct: int
    by_rule: Mapping[str, int] = field(default_factory=dict)  # rule -> number of distinct rows that break it
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # rule -> files with such rows
    late: int = 0  # events added by this run that are older than late_arrival_days

    @property
    def duplicates(self) -> int:
        """Number of valid rows that are exact duplicates of another row."""
        return self.rows - self.refused - self.valid_distinct

    @property
    def bad_fraction(self) -> float:
        """Share of refused rows among all distinct rows."""
        distinct = self.refused_distinct + self.valid_distinct
        return self.refused_distinct / distinct if distinct else 0.0


def problem_of(dataset: str, location: str, tally: Tally, max_bad_fraction: float, is_required: bool) -> Problem | None:
    """The problem of too many refused rows or of no valid row; None when the dataset may be published."""
    if tally.bad_fraction > max_bad_fraction:
        distinct = tally.refused_distinct + tally.valid_distinct
        return Problem(
            dataset,
            "rows are valid",
            next((file for rule in tally.by_rule for file in tally.samples.get(rule, ())), location),
            f"{tally.refused_distinct:,} of {distinct:,} distinct rows ({100 * tally.bad_fraction:.4g}%) break a rule, "
            f"allowed {100 * max_bad_fraction:.4g}% (contracts.max_bad_fraction): {rules_shown(tally)}; "
            "each is in ops.quarantine",
        )
    if tally.valid_distinct == 0 and (is_required or tally.refused_distinct):
        what = "no rows" if tally.rows == 0 else "no valid rows"
        return Problem(dataset, "there are rows", location, f"{what}; put the dataset's events there")
    return None


def rules_shown(tally: Tally) -> str:
    """The broken rules with their counts as text, most frequent first: `unknown_variant 12, null_user_id 3`."""
    ordered = sorted(tally.by_rule.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{rule} {count:,}" for rule, count in ordered)


def findings_of(tally: Tally, plan: ReadPlan, extra_columns: Mapping[str, list[str]], late_days: int) -> list[Finding]:
    """The findings on a dataset that may be published; the failed ones are warnings."""
    found = [
        Finding("there are rows", True, unexpected_count=0, detail=f"{tally.valid_distinct} distinct events"),
        Finding(
            "rows are valid",
            True,
            unexpected_count=tally.refused_distinct,
            unexpected_percent=100 * tally.bad_fraction,
            detail=rules_shown(tally),
        ),
        Finding(
            "exact duplicates count once",
            True,
            unexpected_count=tally.duplicates,
            unexpected_percent=100 * tally.duplicates / tally.rows if tally.rows else 0.0,
            detail=f"{tally.duplicates} rows repeat another and were dropped",
        ),
    ]
    found += rule_findings(tally)
    if tally.late:
        detail = (
            f"{tally.late} added events are more than {late_days} days older than the end of dt; they count like others"
        )
        found.append(Finding("events arrive in time", False, "warning", tally.late, detail=detail))
    if extra_columns:
        files = tuple(path for paths in extra_columns.values() for path in paths[:1])
        detail = f"columns {named(sorted(extra_columns))} are not in the contract and were not read"
        found.append(
            Finding("only contract columns", False, "warning", len(extra_columns), sample=files, detail=detail)
        )
    if plan.changed or plan.vanished:
        gone = (*plan.changed, *plan.vanished)
        found.append(
            Finding("raw files do not change", False, "warning", len(gone), sample=gone[:5], detail=plan.reason)
        )
    return found


def rule_findings(tally: Tally) -> list[Finding]:
    """One warning per broken row-level rule, with files that hold such rows."""
    distinct = tally.refused_distinct + tally.valid_distinct
    return [
        Finding(f"no {rule}", False, "warning", n, 100 * n / distinct, tally.samples.get(rule, ()))
        for rule, n in sorted(tally.by_rule.items())
    ]
