"""Data docs show every suite and what the latest audit of each table found, from what was recorded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from html.parser import HTMLParser

from tests.empty_lake import empty_lake

from exp_platform.config.load import Project
from exp_platform.lake.ops import replace_rows
from exp_platform.quality.docs import build_docs, write_docs_of
from exp_platform.quality.suites import suites_root

EXPERIMENT = "exp_add_cart_002"
TABLE = "silver.fact_assignment_canonical"
RULE = "variant_id is one of the experiment's variants"


def finding(run_id: str, day: int, success: bool, expectation: str = RULE) -> dict:
    return {
        "experiment_id": EXPERIMENT,
        "run_id": run_id,
        "dt": date(2026, 2, 1),
        "stage": "build_assignments",
        "table": TABLE,
        "expectation": expectation,
        "success": success,
        "severity": "critical",
        "unexpected_count": None if success else 7,
        "unexpected_percent": None if success else 1.5,
        "sample": [] if success else ["user_id=<b>ghost_user"],
        "detail": "",
        "at": datetime(2026, 2, day, tzinfo=UTC),
    }


def test_the_latest_audit_is_shown_with_its_offending_keys(project: Project) -> None:
    empty_lake(project)
    rows = [
        finding("run_1", 2, success=True),
        finding("run_2", 3, success=False),
        finding("run_2", 3, success=True, expectation="experiment_id is only exp_add_cart_002"),
    ]
    replace_rows(project, "ops.contract_results", {"experiment_id": EXPERIMENT}, rows)

    page = build_docs(project)

    assert page.exists()
    pages = {str(path.relative_to(page.parent)): path.read_text() for path in page.parent.rglob("*.html")}
    suites = [path for path in pages if path.startswith("expectations/")]
    assert "expectations/silver/fact_assignment_canonical.html" in suites
    assert len(suites) == len(list(suites_root().rglob("*.json")))
    (validation,) = (path for path in pages if path.startswith("validations/"))
    assert "run run_2" in pages[validation] and "run run_1" not in pages[validation]
    assert "user_id=&lt;b&gt;ghost_user" in pages[validation] and "1.5%" in pages[validation]
    assert "1 broken" in pages["index.html"] and "all hold" in pages["index.html"]


class Loads(HTMLParser):
    """The addresses that a page loads or leads to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.places: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.places += [value for key, value in attrs if key in ("src", "href", "srcset") and value]


def test_the_pages_name_no_foreign_host_and_every_link_leads_to_a_page(project: Project) -> None:
    first = write_docs_of(project, EXPERIMENT, [finding("run_2", 3, success=False)])
    pages = list(first.parent.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        html = page.read_text()
        found = Loads(html)
        assert "://" not in html and "url(" not in html and "@import" not in html, page
        assert not found.tags & {"script", "link", "img", "iframe"}
        assert [place for place in found.places if not (page.parent / place).is_file()] == []


def test_a_later_run_of_another_experiment_keeps_the_first_one_in_the_index(project: Project) -> None:
    write_docs_of(project, EXPERIMENT, [finding("run_1", 2, success=True)])
    first = write_docs_of(project, "exp_other", [finding("run_9", 2, success=False)])
    index = first.read_text()
    assert f"validations/{EXPERIMENT}.html" in index and "validations/exp_other.html" in index
