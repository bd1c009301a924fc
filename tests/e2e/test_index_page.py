"""The index in headless Chromium: five hundred experiments within a second; search, filters, order and keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.axe import axe_script
from tests.e2e.browser import CHROMEDRIVER, CHROMIUM, Browser
from tests.memo_kinds import HOSTILE, KINDS, named

from exp_platform.memo.index.entry import Entry, entry_of, without_memo
from exp_platform.memo.index.page import page

TODAY = date(2026, 2, 8)
MANY, MOST_ELEMENTS, MOST_BYTES = 500, 45, 1_500_000
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None, reason="Chromium and chromedriver are not installed on this machine"
)
SHOWN = "return [...document.querySelectorAll('.list tbody tr')].filter(r => !r.hidden).map(r => r.dataset.outcome)"
SIZE = "return [document.querySelectorAll('.list tbody tr').length, document.querySelectorAll('*').length]"
SET = """
const [id, value] = arguments, field = document.getElementById(id);
field.value = value; field.dispatchEvent(new Event("input", {bubbles: true}));
"""


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    names = ("win", "loss", "flat", "early", "srm", "blocked", "three_arms")
    found = [replace(entry_of(KINDS[name]()), experiment_id=name) for name in names]
    hostile = [replace(entry_of(named(text)), experiment_id=f"named_{i}") for i, text in enumerate(HOSTILE)]
    refused = without_memo("exp_r", "exp_r", "", "", "exp_r.yaml: variants: shares add up to 1.2, must be 1.0")
    return [*found, *hostile, without_memo("exp_n", "New search", "search", "draft"), refused]


@pytest.fixture(scope="module")
def browser(entries: list[Entry], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    folder = tmp_path_factory.mktemp("index")
    (folder / "index.html").write_text(page(entries, TODAY), encoding="utf-8")
    many = [replace(entries[i % 7], experiment_id=f"exp_{i}", title=f"Experiment {i}") for i in range(MANY)]
    (folder / "many.html").write_text(page(many, TODAY), encoding="utf-8")
    with Browser(*WIDTHS["desktop"]) as browser:
        yield browser, folder


def show(opened: tuple[Browser, Path], name: str = "index.html", window: str = "desktop") -> Browser:
    browser, folder = opened
    browser.resize(*WIDTHS[window])
    browser.open((folder / name).as_uri())
    return browser


@pytest.mark.parametrize("window", WIDTHS)
def test_no_page_scrolls_sideways(browser: tuple[Browser, Path], window: str) -> None:
    widths = show(browser, window=window).run("return [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]


def test_search_and_filters_leave_what_fits(browser: tuple[Browser, Path]) -> None:
    tab = show(browser)
    tab.run(SET, "search", "NEW search")
    assert tab.run(SHOWN) == ["none"] and "1 of 16 shown" in tab.text()
    tab.run(SET, "search", "")
    tab.run(SET, "outcome", "loss")
    assert tab.run(SHOWN) == ["loss"]
    tab.run(SET, "owner", "search")
    assert tab.run(SHOWN) == []


def test_the_best_relative_effect_can_come_first_and_no_effect_comes_last(browser: tuple[Browser, Path]) -> None:
    tab = show(browser)
    assert tab.run(SHOWN)[:3] == ["blocked", "refused", "invalid"]
    tab.run(SET, "sort", "effect")
    effects = tab.run("return [...document.querySelectorAll('.list tbody tr')].map(r => r.dataset.effect ?? null)")
    there = [float(effect) for effect in effects if effect is not None]
    assert there == sorted(there, reverse=True) and len(there) > 3
    assert set(effects[len(there) :]) == {None}


def test_the_keyboard_reaches_the_search_then_the_filters_then_the_memos(browser: tuple[Browser, Path]) -> None:
    tab, reached = show(browser), []
    for _ in range(5):
        tab.press("Tab")
        reached.append(tab.run("return document.activeElement.id || document.activeElement.tagName"))
    assert reached == ["search", "owner", "outcome", "sort", "A"]


def test_the_script_finds_a_memo_late_that_was_not_when_the_page_was_written(
    browser: tuple[Browser, Path], entries: list[Entry]
) -> None:
    early = next(entry for entry in entries if entry.next_due)
    assert early.next_due is not None
    html = page([early], date.fromisoformat(early.next_due))
    (browser[1] / "late.html").write_text(html, encoding="utf-8")
    assert "did not come" in show(browser, "late.html").text() and 'class="late" hidden' in html


def test_five_hundred_experiments_stay_a_small_page(browser: tuple[Browser, Path]) -> None:
    """Bytes and elements are what a browser has to read and draw; seconds depend on the machine."""
    assert (browser[1] / "many.html").stat().st_size < MOST_BYTES
    rows, elements = show(browser, "many.html").run(SIZE)
    assert rows == MANY
    assert elements < MOST_ELEMENTS * MANY


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: tuple[Browser, Path], scheme: str) -> None:
    tab = show(browser)
    tab.prefer(scheme)
    tab.run(axe_script())
    found: dict[str, Any] = tab.run_async("axe.run().then(arguments[arguments.length - 1])")
    told = [(v["id"], v["impact"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found["violations"]]
    tab.prefer("light")
    assert told == [], json.dumps(told, indent=1)
