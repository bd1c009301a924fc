"""Data docs: `python -m exp_platform.quality.docs` (`make docs`) renders data/docs from the findings of the audits.

Nothing is checked again. Every suite has a page, and each experiment one with the latest audit of each table, passed or
refused, as ops.contract_results holds it, with keys of rows that break a rule. Each run writes the page of its
experiment, a blocked one too, so that data docs are there after the first run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from pyiceberg.exceptions import NoSuchTableError

from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.store_path import Folder, page_folder
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import CONTRACT_RESULTS
from exp_platform.lake.whole import write_whole
from exp_platform.quality.docs_page import experiment_page, index_page, moment, suite_page
from exp_platform.quality.suites import table_rules
from exp_platform.quality.table_rules import TABLE_RULES

Row = dict[str, Any]
WORKERS = 16  # files at a time; each is a request or two to an object store


def build_docs(project: Project) -> Folder:
    """Render the whole site and return the path of its first page."""
    ensure_tables(project)
    known = tuple(project.experiments)
    by_experiment: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(load_handle(project, CONTRACT_RESULTS), {"experiment_id": known}) if known else ():
        by_experiment[row["experiment_id"]].append(row)
    folder = docs_dir(project)
    for experiment_id, rows in by_experiment.items():
        _write_experiment(folder, experiment_id, rows)
    return _write_rest(folder)


def write_docs_of(project: Project, experiment_id: str, findings: Iterable[Row]) -> Folder:
    """Write the page of one experiment from its rows of ops.contract_results, and the pages that all share."""
    folder = docs_dir(project)
    _write_experiment(folder, experiment_id, list(findings))
    return _write_rest(folder)


def refresh_docs_of(project: Project, experiment_id: str) -> Folder | None:
    """Write the page of one experiment from what its runs have found so far; None where there is no lake yet."""
    try:
        handle = load_handle(project, CONTRACT_RESULTS)
    except NoSuchTableError:
        return None
    return write_docs_of(project, experiment_id, read_rows(handle, {"experiment_id": experiment_id}))


def docs_dir(project: Project) -> Folder:
    """The folder of all pages of data docs."""
    return page_folder(project, project.profile.docs_dir)


def latest_audits(findings: Iterable[Row]) -> dict[str, list[Row]]:
    """Table -> the findings of its latest audit."""
    by_time: dict[str, dict[datetime, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in findings:
        by_time[row["table"]][row["at"]].append(row)
    return {table: audits[max(audits)] for table, audits in sorted(by_time.items())}


def _write_experiment(folder: Folder, experiment_id: str, findings: Sequence[Row]) -> None:
    """The page, and beside it the counts that the index shows."""
    latest = latest_audits(findings)
    rows = [row for audit in latest.values() for row in audit]
    broken = [row["severity"] for row in rows if not row["success"]]
    counts = {
        "experiment_id": experiment_id,
        "tables": len(latest),
        "rules": len(rows),
        "critical": broken.count("critical"),
        "warnings": broken.count("warning"),
        "at": moment(max(row["at"] for row in rows)) if rows else "never",
    }
    _write(folder / "validations" / f"{experiment_id}.html", experiment_page(experiment_id, latest))
    _write(folder / "validations" / f"{experiment_id}.json", json.dumps(counts) + "\n")


def _write_rest(folder: Folder) -> Folder:
    """The pages of suites, and the first page."""
    suites, pages = [], []
    for table in TABLE_RULES:
        rules = table_rules(table)
        path = f"expectations/{table.replace('.', '/')}.html"
        lines = [(r.text, r.severity, "the publication" if r.in_publish else "the suite") for r in rules]
        pages.append((folder / path, suite_page(table, TABLES[table].doc, lines)))
        suites.append((table, path, len(rules)))
    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(lambda one: _write(*one), pages))
        counts = list(workers.map(_json_of, sorted(folder.glob("validations/*.json"), key=str)))
    _write(folder / "index.html", index_page(counts, suites))
    return folder / "index.html"


def _json_of(file: Folder) -> Row:
    content: Row = json.loads(file.read_text(encoding="utf-8"))
    return content


def _write(path: Folder, text: str) -> None:
    """Write a file that appears whole or not at all; one that is the same already is left alone."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except FileNotFoundError:
        pass
    write_whole(path, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the site and print the path of its first page."""
    parser = argparse.ArgumentParser(prog="exp_platform.quality.docs", description=__doc__)
    parser.add_argument("--config", default=None, help="profile; default $EXP_CONFIG, else configs/dev.yaml")
    project = load_project(parser.parse_args(argv).config)
    print(f"data docs: {build_docs(project)}", file=sys.stdout)


if __name__ == "__main__":
    main()
