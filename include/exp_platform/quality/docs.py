"""Data docs: `python -m exp_platform.quality.docs` (`make docs`) renders data/docs from the findings of the audits.

Nothing is checked again. Every suite has a page, and each experiment the latest audit of each table, passed or refused,
as ops.contract_results holds it, with keys of rows that break a rule.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables.names import CONTRACT_RESULTS
from exp_platform.quality.gx import load_great_expectations
from exp_platform.quality.rule import Rule, no_row
from exp_platform.quality.suites import expectation_of, load_rules, suites_root
from exp_platform.quality.table_rules import TABLE_RULES

Row = dict[str, Any]


def build_docs(project: Project) -> Path:
    """Render the site and return the path of its first page."""
    folder = Path(project.resolve(project.profile.docs_dir))
    context = _context(folder)
    for (experiment_id, table), rows in _latest(project).items():
        _store(context, experiment_id, table, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.build_data_docs(site_names=["site"])
    return folder / "index.html"


def _context(folder: Path) -> Any:
    """A context with the clone's configuration and a docs site; in memory, so that no file of the clone changes."""
    import yaml

    gx = load_great_expectations()
    root = suites_root()
    config = yaml.safe_load((root / "great_expectations.yml").read_text(encoding="utf-8"))
    config["stores"]["expectations_store"]["store_backend"]["base_directory"] = str(root / "expectations")
    config["data_docs_sites"] = {
        "site": {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
    }
    config.pop("fluent_datasources")
    return gx.get_context(mode="ephemeral", project_config=config)


def _latest(project: Project) -> dict[tuple[str, str], list[Row]]:
    """(experiment, table) -> the findings of the latest audit."""
    by_run: dict[tuple[str, str], dict[datetime, list[Row]]] = defaultdict(lambda: defaultdict(list))
    ensure_tables(project)
    known = tuple(project.experiments)
    for row in read_rows(load_handle(project, CONTRACT_RESULTS), {"experiment_id": known}):
        if row["table"] in TABLE_RULES:
            by_run[row["experiment_id"], row["table"]][row["at"]].append(row)
    return {key: runs[max(runs)] for key, runs in sorted(by_run.items())}


def _store(context: Any, experiment_id: str, table: str, rows: Sequence[Row]) -> None:
    """Store the findings as a validation result of the table's suite."""
    from great_expectations.core import ExpectationSuiteValidationResult, RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    rules = {rule.text: rule for rule in load_rules(suites_root(), table)}
    results = [
        _result(table, rules.get(row["expectation"]) or no_row(row["expectation"], "{batch}"), row) for row in rows
    ]
    passed = sum(result.success for result in results)
    outcome = ExpectationSuiteValidationResult(
        success=not any(row["severity"] == "critical" and not row["success"] for row in rows),
        results=results,
        suite_name=table,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={"active_batch_definition": {"data_asset_name": experiment_id}, "run_id": {"run_name": rows[0]["run_id"]}},
    )
    key = ValidationResultIdentifier(
        ExpectationSuiteIdentifier(table), RunIdentifier(rows[0]["run_id"], rows[0]["at"]), experiment_id
    )
    context.validation_results_store.set(key, outcome)


def _result(table: str, rule: Rule, row: Row) -> Any:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    found: Row = {}
    if not row["success"]:
        found = {
            "observed_value": row["detail"] or row["unexpected_count"],
            "unexpected_count": row["unexpected_count"],
            "unexpected_percent": row["unexpected_percent"],
            "partial_unexpected_list": row["sample"],
        }
    return ExpectationValidationResult(
        success=row["success"],
        expectation_config=ExpectationConfiguration(**expectation_of(table, rule)),
        result={key: value for key, value in found.items() if value is not None},
        exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
        meta={},
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Build the site and print the path of its first page."""
    parser = argparse.ArgumentParser(prog="exp_platform.quality.docs", description=__doc__)
    parser.add_argument("--config", default=None, help="profile; default $EXP_CONFIG, else configs/dev.yaml")
    project = load_project(parser.parse_args(argv).config)
    print(f"data docs: {build_docs(project)}", file=sys.stdout)


if __name__ == "__main__":
    main()
