"""What the pages show is true of the code: languages, links, YAML, SQL and Python."""

from __future__ import annotations

import ast
import importlib.util
import re

import pytest
import yaml
from tests.docs.pages import PAGES, ROOT, Block, all_blocks, blocks_of, commands_of, links_of

from exp_platform.config.models import Metric, Source
from exp_platform.lake.tables import TABLES

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
def test_every_link_to_a_file_leads_to_one(page: object) -> None:
    lost = [target for target in links_of(page.read_text()) if not (page.parent / target).exists()]  # type: ignore[attr-defined]
    assert not lost


@pytest.mark.parametrize("block", of("yaml"))
def test_a_configuration_that_a_page_shows_is_valid(block: Block) -> None:
    content = yaml.safe_load(block.text) or {}
    if "type" in content and "window" in content:
        Metric.model_validate(content)
    for source in content.get("sources", {}).values():
        Source.model_validate(source)


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
