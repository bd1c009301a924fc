"""A dataset is published only with enough valid rows."""

from __future__ import annotations

from exp_platform.ingest.increment import Plan
from exp_platform.ingest.problems import Problem, findings, summarise
from exp_platform.ingest.verdict import Tally, findings_of, problem_of

UNCHANGED = Plan("unchanged", ())


def tally(bad: int, good: int, **other: int) -> Tally:
    rules = {"unknown_variant": bad} if bad else {}
    return Tally(
        other.get("rows", bad + good),
        bad,
        bad,
        good,
        rules,
        dict.fromkeys(rules, ("/raw/a.parquet",)),
        other.get("late", 0),
    )


def verdict(bad: int, good: int, limit: float = 0.001, is_required: bool = True) -> Problem | None:
    return problem_of("outcomes", "/raw/outcomes", tally(bad, good), limit, is_required)


def test_bad_rows_up_to_the_limit_are_tolerated_and_one_more_is_not() -> None:
    assert verdict(1, 999) is None
    problem = verdict(2, 998)
    assert problem is not None
    assert problem.place == "/raw/a.parquet"
    assert "2 of 1,000 distinct rows (0.2%) break a rule, allowed 0.1%" in problem.what
    assert "unknown_variant 2" in problem.what


def test_a_limit_of_zero_refuses_a_single_bad_row() -> None:
    assert verdict(0, 10, limit=0.0) is None
    assert verdict(1, 10**6, limit=0.0) is not None


def test_a_required_dataset_without_rows_is_refused_an_optional_one_is_not() -> None:
    problem = verdict(0, 0)
    assert problem is not None
    assert problem.sentence == "outcomes: /raw/outcomes: no rows; put the dataset's events there"
    assert verdict(0, 0, is_required=False) is None


def test_a_dataset_without_a_valid_row_is_refused_whatever_the_limit() -> None:
    problem = verdict(3, 0, limit=1.0)
    assert problem is not None
    assert problem.what.startswith("no valid rows")


def test_duplicates_are_what_is_neither_refused_nor_distinct() -> None:
    counted = Tally(rows=10, refused=3, refused_distinct=1, valid_distinct=4)
    assert counted.duplicates == 3
    assert counted.bad_fraction == 0.2


def test_late_events_changed_files_and_extra_columns_are_warnings() -> None:
    plan = Plan("whole", (), changed=("/raw/a",), reason="1 changed (/raw/a)")
    found = {f.expectation: f for f in findings_of(tally(0, 5, late=2), plan, {"device": ["/raw/b"]}, 3)}
    for expectation in ("events arrive in time", "only contract columns", "raw files do not change"):
        assert not found[expectation].success
        assert not found[expectation].blocks
    assert found["events arrive in time"].unexpected_count == 2
    assert {f.expectation for f in findings_of(tally(0, 5), UNCHANGED, {}, 3) if not f.success} == set()


def test_one_sentence_names_every_file_and_rule_and_counts_what_is_alike() -> None:
    missing = [
        Problem("outcomes", "columns are there", f"/raw/outcomes/{i}.parquet", "column 'value' is missing")
        for i in range(3)
    ]
    broken = Problem("exposures", "files can be read", "/raw/exposures/x.parquet", "cannot be read as Parquet")
    text = summarise([*missing, broken], "exp_a")
    assert "outcomes: /raw/outcomes/0.parquet: column 'value' is missing (and 2 more files alike)" in text
    assert "exposures: /raw/exposures/x.parquet: cannot be read as Parquet" in text
    assert "\n" not in text
    [first, second] = findings([*missing, broken])
    assert (first.expectation, first.unexpected_count, first.blocks) == ("columns are there", 3, True)
    assert second.sample == ("/raw/exposures/x.parquet",)
