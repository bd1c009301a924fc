"""The browser of the end-to-end tests waits for what a person would wait for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.browser import CHROMEDRIVER, CHROMIUM, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver (Debian: both packages)"
    ),
]

PAGE = """
<body></body>
<script>
  const add = (tag, id, how) => {
    const it = Object.assign(document.createElement(tag), {id}, how)
    document.body.append(it)
    return it
  }
  const later = (milliseconds, act) => setTimeout(act, milliseconds)
  add('button', 'hidden', {innerText: 'never shown', hidden: true})
  add('button', 'disabled', {innerText: 'never enabled', disabled: true})
  later(500, () => {
    const button = add('button', 'go', {innerText: 'go'})
    button.onclick = () => add('p', 'said', {innerText: 'clicked'})
    const field = add('input', 'field', {value: 'before', disabled: true})
    const above = add('div', 'above', {style: 'position: fixed; inset: 0'})
    later(1500, () => { above.remove(), field.disabled = false })
  })
</script>
"""
COUNTING = """
let n = 0
const timer = setInterval(() => { document.body.innerText = 'n' + ++n; if (n > 9) clearInterval(timer) }, 100)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(width=400, height=300) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """A page whose button and field come late, and can be used later still; two other buttons never can."""
    (tmp_path / "page.html").write_text(PAGE)
    browser.open(f"file://{tmp_path}/page.html")
    return browser


def test_a_click_waits_until_a_button_is_there_that_is_visible_enabled_and_free(page: Browser) -> None:
    page.click("//button")
    assert page.wait_for("clicked", seconds=5).count("clicked") == 1


def test_typing_waits_until_the_field_takes_it(page: Browser) -> None:
    page.type("//input[@id='field']", "after")
    assert page.run("return document.getElementById('field').value") == "after"


def test_what_never_comes_is_named_with_what_the_page_says_instead(page: Browser) -> None:
    page.click("//button")
    with pytest.raises(
        AssertionError, match=r"(?s)//a\[@id='other'\] not usable after 0.5 s: there is none; .*clicked"
    ):
        page.click("//a[@id='other']", seconds=0.5)


def test_a_picture_is_taken_when_the_page_has_come_to_rest(page: Browser, tmp_path: Path) -> None:
    page.run(COUNTING)
    page.picture(tmp_path / "rest.png", seconds=30)
    assert page.text() == "n10"
    began = time.monotonic()
    page.run("setInterval(() => { document.body.innerText = Math.random() }, 20)")
    page.picture(tmp_path / "restless.png", seconds=1)
    assert time.monotonic() - began < 20
