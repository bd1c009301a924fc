"""For each check that can speak up: what usually causes it, and the one step that follows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """The usual causes of a finding as a sentence, and the next step as another."""

    causes: str
    step: str


_SAMPLE_RATIO = Known(
    "Users of one arm are lost without a trace (a crash, a redirect, a filter after the assignment), or they are dealt "
    "by other shares than the registry names.",
    "Compare the arms by day and by segment, and mend what loses the users: the lost ones do not come back, so the "
    "experiment starts again under a new id.",
)
_OUTLIERS = Known(
    "Bots, test accounts or resellers: a few users with hundreds of times the mean.",
    "Look at the largest users. If they are no customers, have them filtered at the source or cap the metric.",
)
CHECKS: dict[str, Known] = {
    **dict.fromkeys(
        (
            *("srm_assigned", "srm_analysed", "srm_fixed_assigned", "srm_fixed_analysed"),
            *("srm_by_day", "srm_by_segment"),
        ),
        _SAMPLE_RATIO,
    ),
    "exposure_logging": Known(
        "Exposures of a share of the users were not logged, or not delivered.",
        "Look for a release of the client, or a gap in delivery, on the first of these days; deliver what is missing.",
    ),
    "pre_assignment_exposure": Known(
        "Users saw the change before their assignment was logged, a local time zone is labelled as UTC, or clocks of "
        "devices are behind.",
        "Compare the clocks of both logs: a shift by whole hours is a time zone, a scatter of minutes is the devices.",
    ),
    "variant_mismatch": Known(
        "The client shows, and logs, another arm than the one assigned.",
        "Stop the experiment: its arms are mixed. Mend how the client learns its arm, and start under a new id.",
    ),
    "multi_variation_exposure": Known(
        "The same users see several arms: on several devices, from a cache, or after a reassignment.",
        "Find what these users have in common, and make the assignment stick to the user.",
    ),
    "exposure_outside_window": Known(
        "Exposures come late: after the exposure window, or after the end of the experiment.",
        "Check end_ts and exposure_window_hours in the experiment's file, and whether the change was left on.",
    ),
    "conflicted_assignment": Known(
        "The assignment does not stick: a user was dealt to several arms.",
        "Mend the assignment service, and start again under a new id.",
    ),
    "outcome_volume": Known(
        "Outcome events of these days never arrived, wholly or for the most part.",
        "Ask for delivery: the next run takes what comes late. What is lost for good is named under `exclude`.",
    ),
    "aa_pre_period": Known(
        "The arms were unlike before the change: users were not dealt at random, or events of one arm from before are "
        "missing.",
        "Compare the arms before the assignment, and find out how users were dealt.",
    ),
    "pretrends": Known(
        "The arms moved apart before the change already: one was on the rise, or its older events are missing.",
        "Look at the days before. A rollout needs a comparison group that moved in parallel.",
    ),
    "share_with_value": Known(
        "The change decides who has a value at all, or it breaks the logging of one arm's events.",
        "Decide on a metric that every user has, such as a count or a share, beside this one.",
    ),
    "skewness": Known(
        "A few users with very large values, among too few users for such a spread.",
        "Cap the metric in its contract, or wait for more users.",
    ),
    "outliers": _OUTLIERS,
    "cap": Known(
        "So many users have no value that the quantile of the cap is 0.",
        "Choose a higher quantile or a fixed cap in the metric's contract.",
    ),
    "twyman": Known(
        "More often a fault in logging or assignment than a find: events counted twice, or lost in one arm.",
        "Check both arms' events by day before anybody is told.",
    ),
    "novelty": Known(
        "Users try the new thing and tire of it, or need time to learn it.",
        "Let the experiment run on, and read the effect of the users who have been exposed longest.",
    ),
    "exposure_agreement": Known(
        "Whether a user is exposed depends on the arm, or the change reaches users who are not logged as exposed.",
        "Compare the shares of exposed users by arm; trust the result on all assigned users.",
    ),
    "clusters": Known(
        "Users lack the attribute that says to which store or region they belong.",
        "Deliver the attribute: without it errors are taken between users, and are too small.",
    ),
    "source_absent": Known(
        "No outcome event has this name: the events are not delivered, or were renamed.",
        "Compare the contract's source with the names that are there.",
    ),
    "duplicate_events": Known(
        "A share of the rows was delivered twice, or events of their own have nothing that tells them apart.",
        "Stop the double delivery, or map an event_id where these are events of their own.",
    ),
}
SECOND_OPINION = Known(
    "A data file is damaged, raw files were changed after the run, or one of both implementations is wrong.",
    "Compute the run again from the raw files (--full-refresh), and check it again.",
)
UNKNOWN = Known("Not known.", "Look at the rows of the check.")


# A warning of ingest by its expectation -> its cause and next step.
_NOTED = {
    "events arrive in time": Known(
        "Events land days after they happened: late delivery, or files out of order.",
        "Nothing, where this is known: late events count from the run that first sees them. Else ask the source.",
    ),
    "only contract columns": Known(
        "The schema of the files has got a column more, which is not read.",
        "Nothing, unless the column is meant to be used: then map it.",
    ),
    "raw files do not change": Known(
        "Raw files were written again, or removed, after they had been read.",
        "Ask who writes them: the numbers of earlier days may have moved.",
    ),
}


def noted(expectation: str) -> Known:
    """The cause of a warning of ingest and its next step."""
    return _NOTED.get(expectation, _CONTRACT)


def known(check_name: str) -> Known:
    """The causes of a check and its next step."""
    return CHECKS.get(check_name, UNKNOWN)


# A rule of ingest, by a word of its sentence -> its cause and next step. The first that fits is told.
_BROKEN: tuple[tuple[str, Known], ...] = (
    (
        "null_user_id",
        Known("Rows have lost their user.", "Have the source fill user_id: a row without a user counts nowhere."),
    ),
    (
        "unknown_variant",
        Known(
            "Rows name an arm that the registry does not know.",
            "Have the name corrected at the source, or name the arm in the registry of a new experiment.",
        ),
    ),
    (
        "cannot be read",
        Known("Files were cut off in their upload, or are of another format.", "Have the named files uploaded again."),
    ),
    (
        "missing; found:",
        Known("The schema of the files has changed: a column is gone.", "Have the column delivered again."),
    ),
    (
        ", must be ",
        Known("The schema of the files has changed: a column has another type.", "Have its old type delivered again."),
    ),
    (
        "no rows",
        Known("The files are there and hold no row.", "Have the dataset's events delivered."),
    ),
)
_CONTRACT = Known(
    "The data do not keep their contract.",
    "Have the named rows or files mended at their source, then clear the task.",
)


def broken_rule(sentence: str) -> Known:
    """The cause of a broken contract and its next step, by the words of ingest's sentence."""
    return next((told for word, told in _BROKEN if word in sentence), _CONTRACT)
