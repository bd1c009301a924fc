"""Days that can't be used and checks that were acknowledged: both change what an experiment's result stands on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from exp_platform.config.models.base import Model

Unusable = Literal["assignments", "exposures", "outcomes"]

# J2's checks judge one day each, so that an acknowledgement names the days.
DAILY_CHECKS = (
    "exposure_logging",
    "pre_assignment_exposure",
    "exposure_outside_window",
    "conflicted_assignment",
    "outcome_volume",
)
# J7's checks judge the result as of dt: an acknowledgement may name the metric.
RESULT_CHECKS = (
    "aa_pre_period",
    "cap",
    "clusters",
    "exposure_agreement",
    "novelty",
    "outliers",
    "share_with_value",
    "skewness",
    "twyman",
)
# Checks by which the comparison itself stands or falls: nobody's word makes such a result right.
NEVER_ACKNOWLEDGED = {
    "srm_assigned": "arms of other sizes than promised hold other users, and no reason mends that",
    "srm_analysed": "arms of other sizes than promised hold other users, and no reason mends that",
    "srm_fixed_assigned": "arms of other sizes than promised hold other users, and no reason mends that",
    "srm_fixed_analysed": "arms of other sizes than promised hold other users, and no reason mends that",
    "srm_by_day": "it says where arms have other sizes than promised, and no reason mends that",
    "srm_by_segment": "it says where arms have other sizes than promised, and no reason mends that",
    "pretrends": "arms that ran apart before are not comparable after",
    "variant_mismatch": "arms that got each other's treatment are not compared; exclude the days on which they did",
    "multi_variation_exposure": "arms that got each other's treatment are not compared; exclude the days on which "
    "they did",
}


def _as_list(value: object) -> object:
    """One date stands for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


Dates = Annotated[tuple[date, ...], BeforeValidator(_as_list, json_schema_input_type=date | list[date])]


class Exclusion(Model):
    """Days whose assignments, exposures or outcomes can't be used."""

    dates: Dates = Field(description="A UTC date, or a list of them.")
    what: Unusable = Field(
        description="assignments: users assigned then leave; exposures: that day's exposures don't count, nor do users "
        "who may first have been exposed then; outcomes: that day's events don't count, nor do users whose window it "
        "lies in."
    )
    reason: str = Field(description="Why the days can't be used; the memo shows it.")
    by: str = Field(description="Who decided so.")


class Acknowledgement(Model):
    """A check that failed or warned, and that costs no trust, for a reason that the memo shows."""

    check: str = Field(description="Name of the check, as the memo writes it.")
    metric: str | None = Field(
        default=None, description="Of a check of the result: the metric that was checked; left out: all metrics."
    )
    dates: Dates = Field(default=(), description="Of a check of one day's logging, and required there: the UTC dates.")
    reason: str = Field(description="Why the check may be passed over; the memo shows it.")
    by: str = Field(description="Who decided so.")

    def covers(self, check_name: str, metric_name: str | None, day: date | None) -> bool:
        """True for a row of this check on these days and this metric."""
        if check_name != self.check:
            return False
        return day in self.dates if self.dates else self.metric in (None, metric_name)


def excluded_dates(exclusions: Iterable[Exclusion], what: Unusable) -> tuple[date, ...]:
    """The dates of one kind that can't be used, in order."""
    return tuple(sorted({day for one in exclusions if one.what == what for day in one.dates}))
