"""The pages agree with the code: links, files, the stage table, and every block of YAML, SQL and Python."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from tests.docs.pages import PAGES, ROOT, Block, all_blocks, blocks_of, commands_of, inline_code, links_of

from exp_platform.config.models import Acknowledgement, Exclusion, Metric, Source
from exp_platform.errors import ExpError
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.registry import BY_NAME

LANGUAGES = {"bash", "json", "mermaid", "python", "sql", "text", "yaml"}
BLOCKS = all_blocks()


def of(language: str) -> list[object]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language == language]


def test_a_page_is_cut_into_its_blocks() -> None:
    page = "a\n```bash\nmake help  # everything\nbin/exp show \\\n  ID\n```\nb `make up`\n```yaml\na: 1\n```\n"
    blocks = list(blocks_of("page.md", page))
    assert [(block.language, block.line) for block in blocks] == [("bash", 2), ("yaml", 8)]
    assert commands_of(blocks[0]) == [["make", "help"], ["bin/exp", "show", "ID"]]


def test_every_fenced_block_says_what_it_holds() -> None:
    assert [block.place for block in BLOCKS if block.language not in LANGUAGES] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    assert [target for target in links_of(page.read_text()) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = [
        code for code in inline_code(page.read_text()) if re.fullmatch(r"[\w./-]+\.(py|sh|json|yaml|sql|md)", code)
    ]
    places = (ROOT, ROOT / "include" / "exp_platform", page.parent)
    assert [code for code in named if "/" in code and not any((place / code).exists() for place in places)] == []


def test_the_stage_table_of_the_readme_is_that_of_the_registry() -> None:
    rows = {
        match[1]: line
        for line in (ROOT / "README.md").read_text().splitlines()
        if (match := re.match(r"\| \[?`(\w+)`", line)) and match[1] in BY_NAME
    }
    assert list(rows) == list(BY_NAME)
    for name, row in rows.items():
        assert [table for table in BY_NAME[name].publishes if f"`{table}`" not in row] == [], name


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(folder.glob("0*.md"))
    assert [page.name for page in pages if f"({page.name})" not in index] == []
    titles = {page.name: page.read_text().splitlines()[0].removeprefix(f"# {page.name[:4]}. ") for page in pages}
    assert all(len(title) > 10 for title in titles.values())


def test_the_runbook_has_a_row_for_each_exit_code() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    codes = {0, *(error.exit_code for error in (ExpError, *ExpError.__subclasses__()))}
    assert [code for code in sorted(codes) if f"\n| {code} |" not in runbook] == []


@pytest.mark.parametrize("block", of("yaml"))
def test_a_configuration_that_a_page_shows_is_valid(block: Block) -> None:
    content = yaml.safe_load(block.text) or {}
    if "type" in content and "window" in content:
        Metric.model_validate(content)
    for given in content.get("sources", {}).values():
        for source in given if isinstance(given, list) else [given]:
            Source.model_validate(source)
    for model, key in ((Exclusion, "exclude"), (Acknowledgement, "acknowledge")):
        for entry in content.get(key, []):
            model.model_validate(entry)


@pytest.mark.parametrize("block", of("sql"))
def test_a_query_that_a_page_shows_names_tables_and_columns_that_are_there(block: Block) -> None:
    tables = re.findall(r"iceberg\.(\w+\.\w+)", block.text)
    assert tables
    for table in tables:
        assert table in TABLES
    selected = re.search(r"SELECT (.+?) FROM", block.text, flags=re.DOTALL)
    if selected and len(tables) == 1:
        columns = {column.strip() for column in selected[1].split(",")}
        assert {column for column in columns if re.fullmatch(r"\w+", column)} <= set(TABLES[tables[0]].columns)


@pytest.mark.parametrize("block", of("python"))
def test_a_program_that_a_page_shows_imports_what_is_there(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert importlib.util.find_spec(node.module) is not None, node.module
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
