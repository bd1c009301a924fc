"""The memo from hand-made statistics: what it says, and that nothing in it can break the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from tests import hand_made as hm
from tests.memo_kinds import RUN, decided, refused, rollout
from tests.unit.results.test_exposure import exposures

from exp_platform.config.models import Guardrail
from exp_platform.memo.blocked import write_blocked_memo
from exp_platform.memo.content import memo_content
from exp_platform.memo.data import data_section
from exp_platform.memo.memo_files import memo_dir, read_latest, write_memo
from exp_platform.memo.render import records, to_html, to_json, to_markdown
from exp_platform.memo.result_facts import tone
from exp_platform.memo.summary import decision_summary

EVIL = '<script>alert("x")</script> | *bold* `code` & co'


@cache
def memo(
    arms=("control", "treatment"), days: int = 14, lift: float = 0.025, exposed_effect: float | None = None, **keys
) -> dict:
    """The content of a memo on conversion, latency and a quantile."""
    return content_of(arms, days, lift, exposed_effect, **keys)


def content_of(arms, days, lift, exposed_effect, more=None, **keys) -> dict:
    """The content of such a memo; `more` are further fields of its answers."""
    metrics = [
        hm.metric("conversion", "binary", practical_threshold=0.005),
        hm.metric("latency", direction="decrease"),
        hm.metric("median", "quantile"),
    ]
    base = {"guardrails": (Guardrail(metric="latency", max_relative_harm=0.05),)}
    plan = hm.plan(metrics, days, arms=arms, **(base | keys))
    effects = {arms[1]: lift}
    statistics = hm.statistics(
        [
            (metrics[0], hm.draw_units(1, 3000, arms, days, effects=effects, base=0.1, kind="binary")),
            (metrics[1], hm.draw_units(2, 3000, arms, days)),
            (metrics[2], hm.draw_units(3, 3000, arms, days)),
        ]
    )
    split = by_exposure(metrics[0], exposed_effect, arms, days) if exposed_effect is not None else None
    counted = hm.assigned(hm.draw_units(1, 3000, arms, days, kind="binary"))
    return memo_content(replace(decided(plan, statistics, counted, exposures=split), **(more or {})), plan, RUN)


def by_exposure(metric, effect: float, arms: tuple[str, ...], days: int) -> pa.Table:
    """Exposure statistics of users of whom half are exposed, and only these are moved by the effect given."""
    units = hm.draw_units(7, 3000, arms, days, base=0.2, kind="binary")
    rng = np.random.default_rng(7)
    units.country = np.where(rng.random(len(units.arm)) < 0.5, "yes", "no").astype(object)
    moved = (units.arm != "control") & (units.country == ("yes" if effect > 0 else "no"))
    units.y = np.where(moved & (rng.random(len(units.arm)) < abs(effect)), 1.0, units.y)
    return exposures((metric, units))


class Page(HTMLParser):
    """Fails on tags that are not closed in order; keeps text and what would be loaded from elsewhere."""

    VOID = ("meta", "line", "circle", "rect", "path")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.outside: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if not {"style", "title"} & set(self.open):
            self.text.append(data)


def words_of(html: str) -> str:
    return " ".join(" ".join(Page(html).text).split())


def test_the_first_screen_answers():
    content = memo()
    text = words_of(to_html(content))
    answer = text[: text.index("Why this decision")]
    assert content["answer"]["decision"] == "ship"
    for part in (
        "Ship treatment",
        "Trusted",
        "Conversion rose by",
        "95% interval",
        "latency held",
        "Roll treatment out",
    ):
        assert part.lower() in answer.lower(), part


def test_the_page_is_whole_and_loads_nothing_from_elsewhere():
    page = Page(to_html(memo()))
    assert page.open == [] and page.outside == [] and "script" not in page.tags
    assert "@import" not in to_html(memo()) and "url(" not in to_html(memo())


def test_before_the_planned_end_the_anytime_interval_is_shown_and_after_it_the_fixed_one():
    early, late = memo(days=14), memo(days=35)
    assert early["plan"]["interval_in_force"] == "anytime" and late["plan"]["interval_in_force"] == "fixed"
    assert late["plan"]["planned_end"] == "2026-02-05 00:00 UTC" and late["plan"]["planned_end_reached"]
    widths = [row["high"] - row["low"] for row in (early["metrics"][0], late["metrics"][0])]
    assert widths[0] > widths[1]


def test_the_primary_comes_first_and_every_metric_has_its_deciding_row():
    rows = memo()["metrics"]
    assert [(r["metric"], r["role"]) for r in rows] == [
        ("conversion", "primary"),
        ("latency", "guardrail"),
        ("median", "secondary"),
    ]
    assert rows[0]["tone"] == "better"


@pytest.mark.parametrize(
    ("interval", "increase_is_good", "p_adjusted", "word"),
    [
        ((1.0, 3.0), True, 0.01, "better"),
        ((1.0, 3.0), False, 0.01, "worse"),
        ((-3.0, -1.0), False, None, "better"),
        ((-1.0, 3.0), True, 0.2, "unclear"),
        ((0.1, 3.0), True, 0.06, "unclear"),  # clear alone, not among so many metrics
        ((None, None), True, None, "unclear"),
    ],
)
def test_better_and_worse_are_said_after_the_adjustment(interval, increase_is_good, p_adjusted, word):
    low, high = interval
    middle = None if low is None else (low + high) / 2
    assert tone(middle, low, high, increase_is_good, p_adjusted, 0.05) == word


def test_a_row_opens_to_the_definition_that_made_its_numbers():
    said = words_of(to_html(memo()))
    assert said.count("Definition of version 1") == len(memo()["metrics"])
    assert "Definition of version 1 direction increase practical_threshold 0.005 pre_period_days 14 type binary" in said


def test_each_arm_has_its_own_decision():
    content = memo(arms=("control", "a", "b"))
    assert [arm["arm"] for arm in content["answer"]["arms"]] == ["a", "b"]
    assert content["answer"]["decision"] == "ship" and "ship:a" in content["answer"]["reasons"]
    assert "a: Ship" in words_of(to_html(content))


def test_what_comes_from_config_or_data_is_shown_and_never_run():
    content = memo(name=EVIL, hypothesis=EVIL, owner=EVIL)
    html, markdown = to_html(content), to_markdown(content)
    assert "<script>" not in html and EVIL in words_of(html)
    assert "<script>" not in markdown
    assert r"\| \*bold\* \`code\`" in markdown


def test_the_json_holds_no_number_that_json_does_not_know():
    text = to_json(memo(lift=0.0))
    assert json.loads(text)["dt"] == "2026-01-14"
    assert not re.search(r"\b(NaN|Infinity)\b", text)


def test_the_same_content_gives_the_same_bytes():
    assert [render(memo()) for render in (to_html, to_markdown, to_json)] == [
        render(memo()) for render in (to_html, to_markdown, to_json)
    ]


def test_every_picture_has_words_for_who_cannot_see_it():
    for label in re.findall(r'<svg[^>]*aria-label="([^"]*)"', to_html(memo())):
        assert label.strip()
    page = to_html(memo())
    assert len(re.findall("<svg (?!x=)", page)) == page.count('role="img"')  # one inside a picture is part of it


def test_the_data_section_counts_what_came_what_was_refused_and_what_was_there_twice():
    files = [{"dataset": "outcomes", "rows": 110, "refused": 4}, {"dataset": "outcomes", "rows": 50, "refused": 0}]
    manifest = [
        {"table": "exp.outcomes", "role": "published", "rows": 150, "snapshot_id": 7, "stage": "ingest_events", "at": 1}
    ]
    quarantine = refused(["outcomes", "outcomes"], ["value is finite"] * 2, [1, 3])
    section = data_section(manifest, files, quarantine, [], {"outcomes": 140})
    outcomes = next(row for row in section["datasets"] if row["dataset"] == "outcomes")
    expected = {"dataset": "outcomes", "files": 2, "rows": 160, "refused": 4, "repeated": 6, "events": 150, "used": 140}
    assert outcomes == expected
    assert section["refused"] == [{"dataset": "outcomes", "rule": "value is finite", "rows": 4}]


def test_a_memo_lies_at_its_fixed_name_and_beside_it_one_for_each_day(project):
    content = memo()
    write_memo(project, "exp_test", date(2026, 1, 14), content, latest=True)
    write_memo(project, "exp_test", date(2026, 1, 10), content | {"dt": "2026-01-10"}, latest=False)
    folder = memo_dir(project)
    assert {f.name for f in (folder / "exp_test").iterdir()} == {
        f"2026-01-{day}.{suffix}" for day in (10, 14) for suffix in ("md", "html", "json")
    }
    latest = read_latest(project, "exp_test")
    assert latest is not None and latest["dt"] == "2026-01-14"  # a backfill does not move the latest
    assert "SHIP TREATMENT   (trusted)" in decision_summary(project, "exp_test", date(2026, 1, 14))
    assert "no memo for 2026-01-11" in decision_summary(project, "exp_test", date(2026, 1, 11))


ID = "exp_checkout_button_001"


def test_when_a_contract_blocks_the_last_numbers_stay_below_the_reason(project):
    write_memo(project, ID, date(2026, 1, 14), memo(), latest=True)
    rule = "exp.outcomes: value is <b>not</b> a number (1,234 rows)\nsecond line"
    write_blocked_memo(project, ID, date(2026, 1, 15), "run_2", "ingest_events", rule)
    write_blocked_memo(project, ID, date(2026, 1, 16), "run_3", "ingest_events", rule)
    html = (memo_dir(project) / f"{ID}.html").read_text()
    text = words_of(html)
    assert "Blocked since 15 Jan 2026 exp.outcomes: value is <b>not</b> a number (1,234 rows)" in text
    assert "<b>not</b>" not in html and "second line" not in text
    earlier = "The numbers below are those of the data to 14 Jan 2026: Ship treatment, trusted."
    assert text.index("Blocked since") < text.index(earlier) < text.index("Why this decision")
    assert (memo_dir(project) / ID / "2026-01-14.json").exists()
    assert not (memo_dir(project) / ID / "2026-01-15.json").exists()


def test_a_memo_that_an_earlier_version_wrote_can_be_blocked_and_is_pointed_to(project):
    earlier = {key: value for key, value in memo().items() if key not in ("memo", "format")}
    path = memo_dir(project) / f"{ID}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(earlier))
    write_blocked_memo(project, ID, date(2026, 1, 15), "run_2", "ingest_events", "exp.outcomes: no rows")
    write_blocked_memo(project, ID, date(2026, 1, 16), "run_3", "ingest_events", "exp.outcomes: no rows")
    text = words_of((memo_dir(project) / f"{ID}.html").read_text())
    assert "Blocked since 15 Jan 2026" in text and "The last numbers are in the memo of 14 Jan 2026." in text
    (memo_dir(project) / ID).mkdir()
    (memo_dir(project) / ID / "2026-01-14.json").write_text(json.dumps(earlier))
    assert "written by an earlier version" in decision_summary(project, ID, date(2026, 1, 14))


def test_a_backfill_that_is_blocked_leaves_the_latest_memo_alone(project):
    write_memo(project, ID, date(2026, 1, 14), memo(), latest=True)
    write_blocked_memo(project, ID, date(2026, 1, 10), "run_2", "ingest_events", "exp.outcomes: no rows")
    assert "Blocked since" not in (memo_dir(project) / f"{ID}.html").read_text()


def test_a_block_before_any_number_says_that_there_are_none(project):
    write_blocked_memo(project, ID, date(2026, 1, 15), "run_2", "ingest_events", "exp.outcomes: no rows")
    for suffix in ("html", "md"):
        assert "There are no earlier numbers." in (memo_dir(project) / f"{ID}.{suffix}").read_text()


def test_the_next_run_that_gets_through_takes_the_block_away(project):
    write_blocked_memo(project, ID, date(2026, 1, 15), "run_2", "ingest_events", "exp.outcomes: no rows")
    write_memo(project, ID, date(2026, 1, 16), memo(), latest=True)
    assert "Blocked since" not in (memo_dir(project) / f"{ID}.html").read_text()


@pytest.mark.parametrize("lift", [0.0, -0.05])
def test_the_memo_names_every_decision(lift):
    content = memo(lift=lift)
    assert content["answer"]["decision_label"] in words_of(to_html(content))
    assert content["answer"]["decision_label"] in to_markdown(content)


def test_a_rollout_says_what_was_expected_without_the_change_and_asks_for_no_sample_ratio():
    content = memo(design="rollout", lift=0.05)
    row = next(r for r in content["before_after"] if r["metric"] == "conversion")
    assert row["expected"] == pytest.approx(row["treatment_mean"] - row["effect"])
    assert row["treatment_change"] - row["control_change"] == pytest.approx(row["effect"])
    assert {r["metric"] for r in content["before_after"]} == {"conversion", "latency"}  # not for a quantile
    for page in (to_html(content), to_markdown(content)):
        assert "no sample ratio is asked of them" in page and "sample ratio of the assigned users" not in page
        assert "plus control's change: the level without the change" in page.replace("&#39;", "'")
    Page(to_html(content))


def test_a_rollout_says_in_its_first_sentence_what_was_expected_and_what_was_seen():
    sentence = records(rollout("passed")).first.arms[0].sentence
    assert re.search(r"from [\d.]+% expected without the change to [\d.]+% seen", sentence)


def test_an_experiment_with_random_arms_shows_its_sample_ratio_and_expects_no_counterfactual():
    content = memo()
    assert content["before_after"] == []
    for page in (to_html(content), to_markdown(content)):
        assert "sample ratio of the assigned users" in page and "plus control" not in page
        assert "no sample ratio is asked" not in page


def test_all_assigned_users_stand_beside_the_exposed_ones_and_the_memo_says_whether_they_agree():
    agreeing, differing = (memo(exposed_effect=effect) for effect in (0.2, -0.2))  # the latter moves the unexposed
    for content, word in ((agreeing, "the two agree within their error"), (differing, "the two do not agree")):
        (row,) = [r for r in content["exposure"] if r["metric"] == "conversion"]
        assert row["sentence"].startswith("5") and "of the assigned users were exposed." in row["sentence"]
        for page in (to_html(content), to_markdown(content)):
            assert word in page and "All assigned users and the exposed ones" in page
            Page(page)
        assert {r["method"] for r in content["methods"]} == {"ab", "cuped", "did"}
    assert "caution:exposure_agreement:conversion" in differing["answer"]["reasons"]
    assert agreeing["exposure"][0]["complier"]["effect"] == pytest.approx(0.16, abs=0.04)


def test_an_experiment_without_exposures_has_no_such_section():
    content = memo()
    assert content["exposure"] == []
    assert "All assigned users and the exposed ones" not in to_html(content) + to_markdown(content)
