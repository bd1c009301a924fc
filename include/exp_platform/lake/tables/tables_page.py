"""docs/tables.md, written from the declarations: `python -m exp_platform.lake.tables.tables_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exp_platform.lake.tables import NAMESPACES, RUN_COLUMNS, TABLES, Table
from exp_platform.lake.tables.examples import EXAMPLES
from exp_platform.paths import clone_root

_HEAD = """# Tables

Generated from `include/exp_platform/lake/tables/` by `make docs-generated`; do not edit.

Every table lives in the Iceberg catalog `iceberg` and holds all experiments, isolated by `experiment_id`. All times are
UTC. The descriptions are comments of the columns too, so that `DESCRIBE TABLE` and a catalog browser show them. *null*
says that a column may be null. Columns in *italics* tell of the run: they may differ between two runs that agree, all
others are equal byte for byte. The words are explained in the [glossary](glossary.md).

*one dt* means that each run replaces the rows of its experiment and dt; *latest dt* that the table holds the
experiment's latest dt alone, so that a backfill writes to a branch of its own; *all* that it does not depend on dt.

Below each table is a question that it answers. How to ask from Spark, PyIceberg, DuckDB or dbt:
[reading results](reading-results.md).
"""
_NAMESPACES = {
    "exp": "exp: data that comes in, answers that go out",
    "silver": "silver: canonical facts",
    "gold": "gold: quality, cohort, sums, verdicts",
    "ops": "ops: the platform's own books",
}


def page_text() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_index(), *(line for name in NAMESPACES for line in _namespace(name))])


def page_path() -> Path:
    """Where it is."""
    return clone_root() / "docs" / "tables.md"


def _index() -> Iterator[str]:
    yield "| table | what it holds |\n|---|---|"
    yield from (f"| [{table.name}](#{table.name.replace('.', '')}) | {table.doc} |" for table in TABLES.values())
    yield ""


def _namespace(name: str) -> Iterator[str]:
    yield f"## {_NAMESPACES[name]}\n"
    for table in TABLES.values():
        if table.name.startswith(f"{name}."):
            yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    dt = "one dt" if table.has_dt else "latest dt" if table.shows_latest_dt else "all"
    yield f"### {table.name}\n\n{table.doc}\n"
    writer = {"spark": "Spark", "pyiceberg": "PyIceberg"}[table.engine]
    yield f"One row per {' × '.join(table.grain)}. Partitioned by {', '.join(table.partition)}. Holds {dt}."
    yield f"Written by {writer}.\n"
    yield "| column | type | null | what it holds |\n|---|---|---|---|"
    for column, kind in table.types.items():
        shown = f"*{column}*" if column in RUN_COLUMNS else column
        null = "" if column in table.required else "null"
        yield f"| {shown} | {kind} | {null} | {table.descriptions[column]} |"
    yield f"\n```sql\n{EXAMPLES[table.name]}\n```\n"


if __name__ == "__main__":
    page_path().write_text(page_text(), encoding="utf-8")
