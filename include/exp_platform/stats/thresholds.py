"""The numbers at which a statistical verdict turns, each in this one place and shown from here.

They are no settings: `make calibrate` measures the false alarms of exactly these numbers, and a team that could loosen
one would loosen the promise on the page. Thresholds that depend on a team's data are settings: J2's in `quality:`,
what is bad enough to ship or to stop in the decision policy.
"""

from __future__ import annotations

from exp_platform.status import CheckStatus

SRM_FAILS_BELOW = 0.001  # the sequential p at any look, and the chi-square at the planned end
SRM_DOUBTS_BELOW = 0.01  # the chi-square at the planned end
CHECK_SPEAKS_BELOW = 0.001  # the p of every other check of J7: daily looks at many metrics must not cry wolf
PRETRENDS_FAIL_BELOW = 0.05  # the p of a pre-trend test, adjusted over the two tests of one row
DID_UNITS_PER_DATE = 2  # units with both periods that an arm needs on a cohort date, to have a variance there


def speaks(p_value: float | None, status: CheckStatus, below: float = CHECK_SPEAKS_BELOW) -> CheckStatus:
    """The status of a check by its p: the given one below the threshold, else ok; without a p there is no evidence."""
    return status if p_value is not None and p_value < below else CheckStatus.OK
