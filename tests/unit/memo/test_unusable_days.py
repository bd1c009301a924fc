"""The memo's section on excluded days and acknowledged checks: who, why and how many."""

from __future__ import annotations

from datetime import date

from tests import hand_made as hm
from tests.unit.memo.test_memo import EVIL, content_of, memo

from exp_platform.config.models import Acknowledgement, Exclusion
from exp_platform.memo.render import to_html, to_markdown
from exp_platform.memo.unusable_days import unusable_section

METRICS = [hm.metric("revenue")]
LOST = date(2026, 1, 9)
EXCLUDED = (Exclusion(dates=LOST, what="outcomes", reason=EVIL, by="ana"),)
KNOWN = (Acknowledgement(check="exposure_logging", dates=LOST, reason="a holiday", by="ben"),)
NUMBERS = {"observed": 0.4, "expected": 0.8, "detail": "40% of 90"}


def section(exclude=EXCLUDED, acknowledge=KNOWN) -> dict:
    counts = [
        {"entry": 1, "metric_name": "revenue", "users": 120, "of_users": 4000},
        {"entry": 2, "metric_name": "all", "users": 7, "of_users": 4000},
    ]
    quality = [
        {"check_name": "exposure_logging", "date": day, "status": status} | NUMBERS
        for day, status in ((LOST, "fail"), (date(2026, 1, 10), "fail"), (date(2026, 1, 11), "ok"))
    ]
    return unusable_section(hm.experiment(METRICS, exclude=exclude, acknowledge=acknowledge), counts, quality, [])


def test_each_entry_has_its_own_counts_and_each_acknowledgement_the_verdicts_that_it_covers() -> None:
    found = section()
    assert found["excluded"][0]["counts"] == [{"metric_name": "revenue", "users": 120, "of_users": 4000}]
    (known,) = found["acknowledged"]
    assert (known["count"], known["by"], known["rows"][0]["date"]) == (1, "ben", "2026-01-09")


def test_without_a_days_exposures_the_memo_says_who_is_analysed_in_each_mode() -> None:
    entry = Exclusion(dates=LOST, what="exposures", reason="lost", by="ana")
    said = {}
    for mode in ("itt", "exposed"):
        found = unusable_section(hm.experiment(METRICS, exclude=(entry,), analysis_mode=mode), [], [], [])
        said[mode] = found["excluded"][0]["sentence"]
    assert "All assigned users are analysed" in said["itt"]
    assert "; users who may first have been exposed then are not analysed" in said["exposed"]


def test_an_experiment_without_either_has_no_section() -> None:
    assert section((), ()) == {}
    assert "set aside" not in to_markdown(memo()) + to_html(memo())


def test_markdown_and_html_say_who_why_and_how_many_and_escape_what_people_wrote() -> None:
    content = content_of(("control", "treatment"), 14, 0.025, None, more={"unusable": section()})
    for text in (to_markdown(content), to_html(content)):
        assert "Days and checks that were set aside" in text
        assert "120 of 4,000 users." in text and "1 verdicts do not count" not in text
        assert "a holiday (ben)" in text and "1 verdict does not count" in text
        assert "<script>alert" not in text
