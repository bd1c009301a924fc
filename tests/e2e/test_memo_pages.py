"""Twelve memos in headless Chromium: the facts above the fold, on a desktop and on a phone, in one browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.axe import axe_script
from tests.e2e.browser import CHROMEDRIVER, CHROMIUM, Browser
from tests.memo_kinds import HOSTILE, KINDS, named

from exp_platform.memo.blocks import FirstScreen
from exp_platform.memo.render import records, to_html
from exp_platform.memo.text import clean

WINDOWS = {"desktop": (1280, 800), "phone": (390, 844)}
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None, reason="Chromium and chromedriver are not installed on this machine"
)
# The text in the window: every text node of which some part can be seen.
SEEN = """
const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const range = document.createRange(); range.selectNodeContents(walk.currentNode);
  const there = [...range.getClientRects()].some(r => r.width && r.top < innerHeight && r.bottom > 0);
  if (there && walk.currentNode.textContent.trim()) found.push(walk.currentNode.textContent.trim());
}
return found.join(" ").replace(/\\s+/g, " ");
"""
# How far the first screen, its last line, its pictures and the page reach, in pixels.
REACH = """
const ends = [...document.querySelectorAll(".first dd")].map(e => e.getBoundingClientRect().bottom);
return {
  screen: document.querySelector(".first").getBoundingClientRect().bottom, last: Math.max(...ends),
  height: innerHeight, width: innerWidth, page: document.documentElement.scrollWidth,
  clipped: [...document.querySelectorAll(".first svg.interval .ci, .first svg.interval text")].filter(e => {
    const box = e.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth;
  }).length,
};
"""

# The folds whose content can be seen.
OPEN = """
return [...document.querySelectorAll("details")].filter(fold => {
  const content = fold.querySelector(":scope > :not(summary)");
  return content.checkVisibility({contentVisibilityAuto: true}) && content.getBoundingClientRect().height > 0;
}).map(fold => fold.textContent.slice(0, 30));
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Browser(*WINDOWS["desktop"]) as browser:
        yield Pages(browser, tmp_path_factory.mktemp("memos"))


class Pages:
    """The one browser, the memos that were written for it, and the contents behind them."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.first: dict[str, FirstScreen] = {}

    def show(self, name: str, window: str, content: dict[str, Any] | None = None) -> FirstScreen:
        """Open a memo in a window of this size."""
        file = self.folder / f"{name}.html"
        if not file.exists():
            content = content or KINDS[name]()
            file.write_text(to_html(content), encoding="utf-8")
            self.first[name] = records(content).first
        self.browser.resize(*WINDOWS[window])
        self.browser.open(file.as_uri())
        return self.first[name]


def words(text: str) -> str:
    return re.sub(r"\s+", " ", clean(text))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", KINDS)
def test_the_facts_are_above_the_fold_and_nothing_else_is(pages: Pages, name: str, window: str) -> None:
    first = pages.show(name, window)
    seen, reach = pages.browser.run(SEEN), pages.browser.run(REACH)
    facts = [first.title, first.owner, first.as_of, first.next_due, first.word, first.because, first.trust_word]
    facts += [first.trust, first.guardrails, first.next_step, *(arm.sentence for arm in first.arms)]
    assert [fact for fact in facts if words(fact) not in seen] == []
    assert "Why this decision" not in seen and "Over time" not in seen
    assert reach["last"] <= reach["height"] <= reach["screen"] + 0.5
    assert reach["page"] <= reach["width"], "the page scrolls sideways"
    assert reach["clipped"] == 0


@pytest.mark.parametrize("name", ["srm", "broken_exposure", "failed_pretrends", "blocked"])
def test_without_trust_no_word_and_no_colour_above_the_fold_looks_like_a_win(pages: Pages, name: str) -> None:
    pages.show(name, "desktop")
    seen = pages.browser.run(SEEN)
    assert not re.search(r"\b(rose by|better|improvement|Roll|conclusive)\b|✓", seen)
    ink = pages.browser.run("return getComputedStyle(document.body).color")
    assert pages.browser.run('return getComputedStyle(document.querySelector(".word")).color') == ink
    coloured = pages.browser.run('return document.querySelectorAll("svg.better, svg.worse").length')
    assert coloured == 0 or name == "blocked"


@pytest.mark.parametrize("window", WINDOWS)
def test_a_title_of_three_hundred_letters_leaves_the_decision_above_the_fold(pages: Pages, window: str) -> None:
    for i, hostile in enumerate(HOSTILE):
        first = pages.show(f"named_{i}", window, named(hostile))
        reach = pages.browser.run(REACH)
        assert words(first.word) in pages.browser.run(SEEN)
        assert reach["page"] <= reach["width"]


@pytest.mark.parametrize("name", ["win", "srm", "rollout", "three_arms"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(pages: Pages, name: str, scheme: str) -> None:
    pages.show(name, "desktop")
    pages.browser.prefer(scheme)
    pages.browser.run('document.querySelectorAll("details").forEach(d => d.open = true)')
    pages.browser.run(axe_script())
    found = pages.browser.run_async("axe.run().then(arguments[arguments.length - 1])")
    told = [(v["id"], v["impact"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found["violations"]]
    pages.browser.prefer("light")
    assert told == [], json.dumps(told, indent=1)


def test_print_opens_every_fold(pages: Pages) -> None:
    pages.show("win", "desktop")
    on_screen = pages.browser.run(OPEN)
    pages.browser.prefer("light", media="print")
    folds = pages.browser.run('return document.querySelectorAll("details").length')
    until = time.monotonic() + 20  # the page hears of the medium when the browser comes to it
    while len(printed := pages.browser.run(OPEN)) < folds and time.monotonic() < until:
        time.sleep(0.1)
    pages.browser.prefer("light")
    assert on_screen == [] and len(printed) == folds > 0


def test_the_keyboard_reaches_and_opens_every_fold(pages: Pages) -> None:
    pages.show("win", "desktop")
    folds = pages.browser.run('return document.querySelectorAll("summary").length')
    pages.browser.press("Tab", "Enter")
    assert folds > 3 and pages.browser.run('return document.querySelectorAll("details[open]").length') == 1
