"""The pages that people read, cut into what can be tested: fenced blocks, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@dataclass(frozen=True)
class Block:
    """One fenced block of a page: its language, its text, and the line of its fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where a person finds it."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Every fenced block of a page."""
    opened, language, lines = 0, "", list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif opened:
            yield Block(page, opened, language, "\n".join(lines))
            opened = 0
        else:
            opened, language, lines = number, line.lstrip().removeprefix("```").strip(), []


def all_blocks() -> list[Block]:
    """Every fenced block of every page."""
    return [block for page in PAGES for block in blocks_of(str(page.relative_to(ROOT)), page.read_text())]


def commands_of(block: Block) -> list[list[str]]:
    """The words of each command of a shell block; a comment is left out, a backslash joins two lines."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def inline_code(text: str) -> list[str]:
    """Everything between single backticks outside the fenced blocks."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", outside)


def links_of(text: str) -> list[str]:
    """Targets of the links that lead to a file of the clone."""
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [target for target in targets if target and "://" not in target]
