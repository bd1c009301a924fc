"""Who was left out and why, from rows of the cohort, the daily measures and the memo's datasets."""

from __future__ import annotations

import pyarrow as pa

from exp_platform.memo.left_out import check_counts, left_out

COHORT = pa.Table.from_pylist(
    [
        {"variant_id": arm, "included": reason is None, "exclusion_reason": reason}
        for arm, reason in (
            ("control", None),
            ("control", None),
            ("control", "conflicted_assignment"),
            ("treatment", "not_exposed"),
            ("treatment", "not_exposed"),
        )
    ]
)
DATASETS = [
    {"dataset": "outcomes", "refused": 3, "repeated": 1895, "rows": 9000},
    {"dataset": "exposures", "refused": 0, "repeated": None, "rows": 10},
]


def test_each_arm_says_how_many_of_the_assigned_are_analysed_and_why_the_others_are_not() -> None:
    found = left_out(COHORT, [], DATASETS, ("control", "treatment", "empty"))
    assert [(row["arm"], row["assigned"], row["analysed"], row["reasons"]) for row in found["users"]] == [
        ("control", 3, 2, {"conflicted_assignment": 1}),
        ("treatment", 2, 0, {"not_exposed": 2}),
        ("empty", 0, 0, {}),
    ]
    assert found["lines"] == [
        "control: 2 of 3 assigned users are analysed; left out: 1 were assigned to several arms.",
        "treatment: 0 of 2 assigned users are analysed; left out: 2 were not validly exposed.",
        "empty: 0 of 0 assigned users are analysed; nobody is left out.",
        "outcomes: 3 rows refused, 1,895 dropped because they repeat another.",
    ]


def test_a_check_that_is_ok_has_its_count_over_all_days_and_arms() -> None:
    daily = [
        {"conflicted_assignment_count": 1000, "canonical_assignments": 20_000, "any_exposure": 5, "assigned": 10},
        {"conflicted_assignment_count": 895, "canonical_assignments": 18_000, "any_exposure": None, "assigned": 10},
    ]
    counts = {row["check_name"]: (row["users"], row["of"]) for row in check_counts(daily)}
    assert counts["conflicted_assignment"] == (1895, 38_000)
    assert counts["exposure_logging"] == (5, 20)


def test_rows_of_streams_are_said_to_be_those_of_all_their_users() -> None:
    datasets = [
        {"dataset": "outcomes", "refused": 2, "repeated": 5, "rows": 100, "streams": ["app", "web"]},
        {"dataset": "exposures", "refused": 1, "repeated": 0, "rows": 9, "streams": ["seen"]},
    ]
    assert left_out(COHORT, [], datasets, ())["lines"] == [
        "outcomes (of all users of the streams app, web): 2 rows refused, 5 dropped because they repeat another.",
        "exposures (of all users of the stream seen): 1 rows refused, 0 dropped because they repeat another.",
    ]
