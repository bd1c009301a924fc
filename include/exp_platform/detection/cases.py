"""The cases of the detection matrix: each fault at three sizes, small, stated and large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exp_platform.config.models import Fault
from exp_platform.synth.planted_faults import FAULTS

Path = Literal["exposures", "ingest", "results"]
Expectation = Literal["silent", "fires", "blocked", "unchanged"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a fault as shares of users, rows or files; `small` lies below the check's documented threshold."""

    small: float
    stated: float
    large: float
    path: Path
    threshold: str  # the check's threshold in words, for the page
    spike: tuple[int, ...] = ()  # days that the small and the stated size hit; the large size hits every day
    harmless: bool = True  # True when the small size must fire nothing; a single damaged file is never harmless


TWO_DAYS = (6, 7)
FLAG = "on two days: 1 point above the other days; on every day: the ceiling of 5%"
SIZES: dict[str, Sizes] = {
    "broken_exposure_logging": Sizes(0.05, 0.25, 0.75, "exposures", "exposure rate of a day 10% (relative) lower"),
    "pre_assignment_exposure": Sizes(0.004, 0.04, 0.2, "exposures", FLAG, TWO_DAYS),
    "variant_mismatch": Sizes(0.004, 0.04, 0.2, "exposures", FLAG, TWO_DAYS),
    "multi_variation_exposure": Sizes(0.004, 0.04, 0.2, "exposures", FLAG, TWO_DAYS),
    "late_exposure": Sizes(0.004, 0.04, 0.2, "exposures", FLAG, TWO_DAYS),
    "timezone_shift": Sizes(0.005, 0.06, 0.3, "exposures", f"{FLAG}; four in five come within five hours", TWO_DAYS),
    "clock_skew": Sizes(0.01, 0.2, 1.0, "exposures", f"{FLAG}; one in four comes within the skew", TWO_DAYS),
    "srm": Sizes(0.01, 0.12, 0.4, "exposures", "sequential p below 0.001"),
    "missing_day": Sizes(0.2, 0.8, 1.0, "exposures", "half of the events that the days around lead to expect"),
    "bots": Sizes(
        0.0005, 0.001, 0.01, "results", "one of 256 unit buckets holds a fifth of an arm's spread", harmless=False
    ),
    "non_parallel_pre_period": Sizes(0.05, 0.5, 1.0, "results", "p below 0.001 on a randomised experiment"),
    "reused_user_ids_across_experiments": Sizes(0.05, 0.5, 1.0, "results", "nothing may change"),
    "duplicate_events": Sizes(0.01, 0.2, 1.0, "ingest", "nothing may change"),
    "out_of_order_timestamps": Sizes(0.01, 0.2, 1.0, "ingest", "nothing may change"),
    "schema_drift_extra": Sizes(0.01, 0.2, 1.0, "ingest", "nothing may change"),
    "null_user_ids": Sizes(0.0002, 0.01, 0.2, "ingest", "max_bad_fraction, 0.1% of a dataset's rows"),
    "unknown_variant": Sizes(0.0002, 0.01, 0.2, "ingest", "max_bad_fraction, 0.1% of a dataset's rows"),
    "schema_drift": Sizes(0.01, 0.3, 1.0, "ingest", "one file", harmless=False),
    "schema_drift_type": Sizes(0.01, 0.3, 1.0, "ingest", "one file", harmless=False),
    "empty_dataset": Sizes(0.5, 1.0, 1.0, "ingest", "no row in any file"),
    "corrupt_parquet": Sizes(0.01, 0.3, 1.0, "ingest", "one file", harmless=False),
}


@dataclass(frozen=True)
class Case:
    """One fault at one size, its own check, and the expected outcome."""

    fault: Fault
    label: Literal["small", "stated", "large"]
    own_check: str
    expectation: Expectation

    @property
    def path(self) -> Path:
        """The path through the platform that the case takes."""
        return SIZES[self.fault.name].path

    @property
    def key(self) -> str:
        """A name of the case that is a valid experiment id."""
        return f"{self.fault.name}_{self.label}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case: check -> number of seeds in which it fired; `detail` is ingest's error text."""

    case: Case
    seeds: int
    fired: dict[str, int]
    detail: str = ""

    @property
    def as_expected(self) -> bool:
        """True when the fault's own check fired in every seed, or, where none may fire, when no check did."""
        if self.case.expectation in ("fires", "blocked"):
            return self.fired.get(self.case.own_check, 0) == self.seeds
        return not self.fired


def cases(*paths: Path) -> tuple[Case, ...]:
    """All cases of the given paths, in the order of `FAULTS`."""
    found = []
    for name, kind in FAULTS.items():
        sizes = SIZES[name]
        if sizes.path not in paths:
            continue
        loud: Expectation = {"contract": "blocked", "unchanged": "unchanged"}.get(kind.own_check, "fires")  # type: ignore[assignment]
        for label, size, expectation in (
            ("small", sizes.small, "silent" if sizes.harmless and loud != "unchanged" else loud),
            ("stated", sizes.stated, loud),
            ("large", sizes.large, loud),
        ):
            fault = Fault(name=name, size=size, days=() if label == "large" else sizes.spike)
            found.append(Case(fault, label, kind.own_check, expectation))  # type: ignore[arg-type]
    return tuple(found)
