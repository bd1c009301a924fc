"""Data docs show every suite and what the latest audit of each table found, from what was recorded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from exp_platform.config.load import Project
from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.ops import replace_rows
from exp_platform.quality.docs import build_docs
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
        "sample": [] if success else ["user_id=ghost_user"],
        "detail": "",
        "at": datetime(2026, 2, day, tzinfo=UTC),
    }


def test_the_latest_audit_is_shown_with_its_offending_keys(project: Project) -> None:
    ensure_tables(project)
    rows = [
        finding("run_1", 2, success=True),
        finding("run_2", 3, success=False),
        finding("run_2", 3, success=True, expectation="experiment_id is only exp_add_cart_002"),
    ]
    replace_rows(project, "ops.contract_results", {"experiment_id": EXPERIMENT}, rows)
    before = {path: path.read_bytes() for path in suites_root().rglob("*") if path.is_file()}

    page = build_docs(project)

    assert page.exists()
    pages = {path.relative_to(page.parent): path.read_text() for path in page.parent.rglob("*.html")}
    suites = [path for path in pages if path.parts[0] == "expectations"]
    assert Path("expectations/silver/fact_assignment_canonical.html") in suites
    assert len(suites) == len(list(suites_root().rglob("*.json")))
    (validation,) = (path for path in pages if path.parts[0] == "validations")
    assert "run_2" in str(validation)
    assert "ghost_user" in pages[validation]
    assert {path: path.read_bytes() for path in suites_root().rglob("*") if path.is_file()} == before
