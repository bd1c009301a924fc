"""A file's name stands for one thing: no two modules of the platform share it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from exp_platform.paths import clone_root

# A command, a table's declaration and a section of the memo bear the name of the thing that they show.
OF_THE_THING = ("cli", "lake/tables", "memo/sections")


def names(package: Path) -> dict[str, list[str]]:
    """Each module's name, and the places that it is found in."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        if not file.stem.startswith("__") and str(place.parent) not in OF_THE_THING:
            found[file.name].append(str(place))
    return found


def test_no_two_modules_share_a_name() -> None:
    found = names(clone_root() / "include" / "exp_platform")
    assert len(found) > 200
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
