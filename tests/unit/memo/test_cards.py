"""Every warning is a card that names its cause: for each fault of the detection matrix the one that was planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import hand_made as hm
from tests.conftest import make_project
from tests.memo_kinds import KINDS, RUN, lost_exposures, small_win

from exp_platform.config.models import Acknowledgement
from exp_platform.detection.cases import SIZES
from exp_platform.memo import names
from exp_platform.memo.blocked import blocked_content, what_blocked
from exp_platform.memo.blocks import Card, Facts, Fold, Memo, Query, Text
from exp_platform.memo.card_words import CHECKS
from exp_platform.memo.cards import lead_cause
from exp_platform.memo.content import memo_content
from exp_platform.memo.queries import QUERIES, Subject, query_of, text
from exp_platform.memo.render import records
from exp_platform.results.checks import check_row
from exp_platform.status import CheckStatus

FAIL, WARN = CheckStatus.FAIL, CheckStatus.WARN
SEVENTH = hm.FIRST_DAY + timedelta(days=6)
# A fault -> words of its card. Faults that change nothing have no check of their own that fails.
CAUSES = {
    "broken_exposure_logging": ("were not logged", "7 Jan 2026", "about 300 of 1,000 users"),
    "pre_assignment_exposure": ("the assignment is written too late", "7 Jan 2026"),
    "timezone_shift": ("A local time zone 5 hours behind", "7 Jan 2026"),
    "clock_skew": ("Clocks of devices are behind", "7 Jan 2026"),
    "variant_mismatch": ("another arm than the one assigned", "7 Jan 2026, in treatment alone"),
    "multi_variation_exposure": ("see several arms", "7 Jan 2026"),
    "late_exposure": ("after the exposure window, or after the end", "7 Jan 2026"),
    "srm": ("Users of one arm are lost without a trace", "treatment: 8,800 users where 9,400", "platform android"),
    "missing_day": ("never arrived", "about 880 events fewer", "metric_name IN ('conversion')"),
    "bots": ("Bots, test accounts or resellers", "in treatment", "one in 256 of an arm, hold 34%"),
    "non_parallel_pre_period": ("moved apart before the change", "since the run as of 3 Feb 2026"),
}
CONTRACT_SENTENCES = {
    "null_user_ids": (
        "assignments: raw/a.parquet: 30 of 3,000 distinct rows (1%) break a rule, allowed 0.1% "
        "(contracts.max_bad_fraction): null_user_id 30; each is in ops.quarantine",
        ("Rows have lost their user", "30 of 3,000 distinct rows (1%)", "raw/a.parquet", "ops.quarantine"),
    ),
    "unknown_variant": (
        "assignments: raw/a.parquet: 30 of 3,000 distinct rows (1%) break a rule, allowed 0.1% "
        "(contracts.max_bad_fraction): unknown_variant 30; each is in ops.quarantine",
        ("Rows name an arm that the registry does not know", "ops.quarantine"),
    ),
    "schema_drift": (
        "outcomes: raw/o.parquet: column 'value' is missing; found: user_id, metric_name (and 3 more files alike)",
        ("a column is gone", "raw/o.parquet", "and 3 more files alike", "ops.contract_results"),
    ),
    "schema_drift_type": (
        "outcomes: raw/o.parquet: column 'value' is text, must be a number",
        ("a column has another type", "raw/o.parquet"),
    ),
    "empty_dataset": ("exposures: raw/exposures: no rows; put the dataset's events there", ("hold no row",)),
    "corrupt_parquet": (
        "outcomes: raw/o.parquet: cannot be read as Parquet (no magic bytes)",
        ("cut off in their upload", "raw/o.parquet"),
    ),
}
HARMLESS = {
    "duplicate_events",
    "schema_drift_extra",
    "out_of_order_timestamps",
    "reused_user_ids_across_experiments",
}


def of_a_day(check: str, detail: str, observed: float = 0.4, expected: float = 0.1) -> list[dict[str, Any]]:
    """Twenty days of one check, of which the seventh failed."""
    ok = {"check_name": check, "observed": expected, "expected": expected, "threshold": 0.2, "p_value": 0.5}
    days = [ok | {"date": hm.FIRST_DAY + timedelta(days=i), "status": "ok", "detail": "as expected"} for i in range(20)]
    days[6] |= {"observed": observed, "status": "fail", "detail": detail, "p_value": 1e-9}
    return days


def planted(fault: str) -> Mapping[str, Any]:
    """Published rows as the checks leave them where this fault was planted."""
    rng = np.random.default_rng(3)
    early = "12.00% of 1,000 users were exposed before assignment, 0.10% on 19 other dates"
    leads: Mapping[str, Sequence[float]] = {
        "pre_assignment_exposure": rng.uniform(1 / 60, 6, 400),
        "timezone_shift": [5 - lag for lag in rng.exponential(3.0, 900) if lag < 5],
        "clock_skew": rng.uniform(0, 2, 300),
    }
    if fault in leads:
        return {"quality": of_a_day("pre_assignment_exposure", early), "leads": list(leads[fault])}
    by_day = {
        "broken_exposure_logging": (
            "exposure_logging",
            "40.00% of 1,000 users have an exposure, 70.00% on others",
            0.7,
        ),
        "variant_mismatch": (
            "variant_mismatch",
            "in treatment, 9.00% of 1,000 users were exposed to another variant",
            0.1,
        ),
        "multi_variation_exposure": (
            "multi_variation_exposure",
            "9.00% of 1,000 were exposed to several variants",
            0.1,
        ),
        "late_exposure": ("exposure_outside_window", "9.00% of 1,000 were exposed only outside the window", 0.1),
    }
    if fault in by_day:
        check, detail, expected = by_day[fault]
        return {"quality": of_a_day(check, detail, expected=expected)}
    if fault == "missing_day":
        detail = "120 events of conversion, about 1,000 expected from the days around"
        return {"quality": of_a_day("outcome_volume", detail, 120.0, 1000.0)}
    counts = "control 10,000 of 9,400 expected; treatment 8,800 of 9,400 expected; first below 0.001 on 2026-01-07"
    rows = {
        "srm": [
            check_row("srm_assigned", FAIL, p_value=1e-9, detail=counts),
            check_row("srm_by_segment", WARN, segment="platform=android", p_value=1e-8),
            check_row("srm_by_segment", segment="platform=ios", p_value=0.4),
        ],
        "bots": [check_row("outliers", WARN, metric="revenue", variant="treatment", observed=0.34, threshold=0.2)],
        "non_parallel_pre_period": [
            check_row("pretrends", FAIL, metric="conversion", variant="treatment", p_value=1e-7)
        ],
    }
    since = {("pretrends", "conversion"): date(2026, 2, 3)}
    return {"checks": rows[fault], "spoke_since": since}


def memo_of(**changes: Any) -> Memo:
    answers, plan = small_win()
    return records(memo_content(replace(answers, **changes), plan, RUN))


def cards_of(memo: Memo) -> list[Card]:
    """The cards of the section on trust, those in folds too."""
    (section,) = [section for section in memo.sections if section.key == "trust"]
    folded = [block for fold in section.blocks if isinstance(fold, Fold) for block in fold.blocks]
    return [block for block in (*section.blocks, *folded) if isinstance(block, Card)]


def words_of(card: Card) -> str:
    """All that a card says."""
    said = [card.title]
    for block in card.blocks:
        if isinstance(block, Facts):
            said += [f"{label.lower()} {value}" for label, value in block.pairs]
        elif isinstance(block, Query):
            said.append(block.sql)
        elif isinstance(block, Text):
            said.append(block.text)
    return ". ".join(said)


def test_every_fault_of_the_matrix_has_its_card_or_changes_nothing() -> None:
    assert {*CAUSES, *CONTRACT_SENTENCES, *HARMLESS} == set(SIZES)


@pytest.mark.parametrize("fault", CAUSES)
def test_the_card_of_a_planted_fault_names_its_cause_and_where_it_lies(fault: str) -> None:
    (card,) = cards_of(memo_of(**{"checks": [], "quality": [], **planted(fault)}))
    said = words_of(card)
    assert [word for word in CAUSES[fault] if word not in said] == [], said


@pytest.mark.parametrize("fault", CONTRACT_SENTENCES)
def test_the_card_of_a_broken_contract_names_its_cause_rows_and_file(fault: str) -> None:
    sentence, told = CONTRACT_SENTENCES[fault]
    blocked = {
        "sentence": sentence,
        "since": "2026-02-05",
        "dt": "2026-02-06",
        "run_id": "r9",
        "stage": "ingest_events",
    }
    (card,) = what_blocked("exp_test", blocked).blocks
    said = words_of(card)
    assert [word for word in (*told, "5 Feb 2026") if word not in said] == [], said


def test_refused_rows_and_warnings_of_ingest_are_cards_of_the_data_section() -> None:
    answers, _ = small_win()
    late = {
        "table": "exp.outcomes",
        "expectation": "events arrive in time",
        "unexpected_count": 12,
        "detail": "12 late",
    }
    rule = {"table": "exp.outcomes", "expectation": "no null_user_id", "unexpected_count": 3, "detail": ""}
    refused = [{"dataset": "outcomes", "rule": "null_user_id", "rows": 3}]
    memo = memo_of(data={**answers.data, "refused": refused, "warnings": [late, rule]})
    (section,) = [section for section in memo.sections if section.key == "data"]
    cards = [words_of(block) for block in section.blocks if isinstance(block, Card)]
    assert len(cards) == 2, "a broken rule is told once"
    assert "Rows have lost their user" in cards[0] and "how many 3 rows" in cards[0] and "ops.quarantine" in cards[0]
    assert "files out of order" in cards[1] and "12 late" in cards[1] and "run_id = 'run_1'" in cards[1]


def test_a_card_has_all_six_parts() -> None:
    (card,) = cards_of(memo_of(checks=[], quality=lost_exposures()))
    labels = [label for block in card.blocks if isinstance(block, Facts) for label, _ in block.pairs]
    assert labels == ["Since", "How many", "Where"]
    assert any(isinstance(block, Text) and block.text.startswith("Usual cause: ") for block in card.blocks)
    assert isinstance(card.blocks[0], Text) and any(isinstance(block, Query) for block in card.blocks)
    assert isinstance(card.blocks[-1], Text) and card.blocks[-1].text.startswith("Next: ")


def test_a_warning_about_a_metric_that_decides_nothing_is_a_folded_card() -> None:
    warning = check_row("skewness", WARN, metric="revenue", variant="control", observed=800, threshold=3000)
    memo = memo_of(checks=[warning], quality=[])
    (section,) = [section for section in memo.sections if section.key == "trust"]
    fold = next(block for block in section.blocks if isinstance(block, Fold))
    assert fold.title == "1 warning about metrics that decide nothing, as marks on their rows"
    assert words_of(fold.blocks[0]).startswith("Revenue per user: a few large values")


def test_an_acknowledged_check_says_so_on_its_card() -> None:
    answers, plan = small_win()
    reason = "The vendor lost these days for good, ticket 12."
    over = Acknowledgement(check="exposure_logging", reason=reason, by="growth")
    experiment = plan.experiment.model_copy(update={"acknowledge": (over,)})
    content = memo_content(
        replace(answers, checks=[], quality=lost_exposures()), replace(plan, experiment=experiment), RUN
    )
    assert f"Acknowledged, so that it costs no trust: {reason}" in words_of(cards_of(records(content))[0])


def test_a_second_blocked_day_has_one_card_of_the_block_and_the_first_day_in_it(tmp_path: Path) -> None:
    project, last = make_project(tmp_path), KINDS["win"]()
    why = {"sentence": "no rows", "since": "2026-02-05", "dt": "2026-02-05", "run_id": "r2", "stage": "ingest_events"}
    once = blocked_content(project, "exp_test", last, why)
    twice = blocked_content(project, "exp_test", once, why | {"dt": "2026-02-06", "run_id": "r3"})
    sections = [section for section in records(twice).sections if section.key == "blocked"]
    assert len(sections) == 1 and records(twice).sections[0] is not None
    assert "5 Feb 2026" in words_of(sections[0].blocks[0]) and "run_id = 'r3'" in words_of(sections[0].blocks[0])


def test_every_check_that_can_speak_up_has_its_cause_and_its_query() -> None:
    loud = set(names.CHECKS) - names.INFORMATION
    assert loud - set(CHECKS) == set() and set(CHECKS) - loud == set()
    assert {check for check in loud if check not in QUERIES} == {"clusters"}, "its rows by day say all"


def test_without_exposures_before_the_assignment_no_lead_is_told() -> None:
    (card,) = cards_of(memo_of(checks=[], quality=planted("clock_skew")["quality"], leads=()))
    assert "a local time zone is labelled as UTC, or clocks of devices are behind" in words_of(card)


def test_a_lead_of_a_whole_hour_alone_is_no_time_zone() -> None:
    assert "written too late" in lead_cause([0.1, 0.2, 0.3, 0.4, 4.99])


def test_no_name_breaks_out_of_a_query() -> None:
    hostile = Subject("x' OR '1'='1", "2026-01-01", metric="m'; DROP TABLE t; --\n", segment="plat'form\\=a")
    for check in QUERIES:
        sql = query_of(check, hostile)
        assert "\n" not in sql and "\\" not in sql
        assert sql.count("'") % 2 == 0 and "' OR '" not in sql.replace("''", "")
    assert text("a\u202eb") == "'ab'"
