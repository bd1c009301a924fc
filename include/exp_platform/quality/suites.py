"""Generate the Great Expectations suites: `python -m exp_platform.quality.suites` (`make suites`) writes the files.

Every table that one stage hands to another has a suite, made of the rules that follow from the contracts
(contract_rules.py) and the rules that no contract can state (table_rules.py). Audits run the files; nobody edits them,
and a test fails when a file differs from what is generated.
"""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exp_platform.lake.tables import TABLES
from exp_platform.paths import clone_root
from exp_platform.quality.contract_rules import contract_rules
from exp_platform.quality.rule import Rule
from exp_platform.quality.table_rules import TABLE_RULES

GX_VERSION = "1.24.1"
_NAMESPACE = uuid.UUID("6f6d2f0c-3c5f-5b0e-9a52-6c9f0a0b7c11")  # ids are made from names, so files are reproducible


def suites_root() -> Path:
    """The clone's folder with Great Expectations' configuration and suites."""
    return clone_root() / "great_expectations"


def table_rules(table: str) -> tuple[Rule, ...]:
    """Every rule of one table, those of its contract first."""
    rules: dict[str, Rule] = {}
    for rule in (*contract_rules(TABLES[table]), *TABLE_RULES[table]):
        rules.setdefault(rule.text, rule)
    return tuple(rules.values())


def suite_of(table: str, rules: Sequence[Rule] | None = None) -> dict[str, Any]:
    """The suite of one table as Great Expectations stores it."""
    chosen = table_rules(table) if rules is None else rules
    return {
        "expectations": [expectation_of(table, rule) for rule in chosen],
        "id": _id(table),
        "meta": {"great_expectations_version": GX_VERSION, "grain": list(TABLES[table].grain)},
        "name": table,
        "notes": TABLES[table].doc,
    }


def expectation_of(table: str, rule: Rule) -> dict[str, Any]:
    """One rule as a suite stores it."""
    return {
        "description": rule.text,
        "id": _id(f"{table}: {rule.text}"),
        "kwargs": rule.arguments,
        "meta": {"in_publish": rule.in_publish, "reads": list(rule.reads)},
        "severity": rule.severity,
        "type": rule.kind,
    }


def _id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))


def suite_path(root: Path, table: str) -> Path:
    """The path of a table's suite."""
    return root / "expectations" / (table.replace(".", "/") + ".json")


def render(table: str) -> str:
    """The text of a table's suite file."""
    return json.dumps(suite_of(table), indent=2, sort_keys=True) + "\n"


def load_rules(root: Path, table: str) -> tuple[Rule, ...]:
    """The rules of a table, read from its suite file."""
    content = json.loads(suite_path(root, table).read_text(encoding="utf-8"))
    return tuple(
        Rule(
            text=e["description"],
            kind=e["type"],
            arguments=e["kwargs"],
            severity=e["severity"],
            reads=tuple(e["meta"]["reads"]),
            in_publish=e["meta"]["in_publish"],
        )
        for e in content["expectations"]
    )


def write_suites(root: Path) -> list[Path]:
    """Write every suite, and delete the suites of tables that no longer exist."""
    shutil.rmtree(root / "expectations", ignore_errors=True)
    written = []
    for table in TABLE_RULES:
        path = suite_path(root, table)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(table), encoding="utf-8")
        written.append(path)
    return written


def main() -> None:
    """Write the suites into the clone."""
    written = write_suites(suites_root())
    print(f"{len(written)} suites in {suites_root() / 'expectations'}", file=sys.stderr)


if __name__ == "__main__":
    main()
