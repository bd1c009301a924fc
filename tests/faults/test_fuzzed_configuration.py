"""Configuration at random: whatever a file holds, it is taken or refused by its name, and stops no other file.

Hypothesis writes the files: keys that vanish, are new or hold another kind of value, and texts with damaged bytes.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import make_project

from exp_platform.config.load import Project, check_experiment_id, load_project
from exp_platform.config.models import ID_PATTERN
from exp_platform.errors import ConfigError
from exp_platform.pipelines.dates import parse_dt
from exp_platform.pipelines.job import RUN_ID

ONE, OTHER = "exp_checkout_button_001", "exp_add_cart_002"
FILES = {
    "experiments": f"configs/experiments/{ONE}.yaml",
    "metrics": "configs/metrics/revenue_per_session.yaml",
    "streams": "configs/streams/events.yaml",
    "profile": "configs/dev.yaml",
}
STREAM = {
    "name": "events",
    "kind": "outcomes",
    "owner": "data",
    "source": {"location": "data/streams/events", "format": "parquet"},
    "delivers": ["revenue", "sessions"],
}

ODD_TEXTS = [
    "",
    " ",
    "a\nb",
    "\u202eevil",
    "a\x00b",
    "\x1b[31m",
    "ä" * 300,
    "../../etc",
    "'; DROP TABLE x; --",
    "${HOME}",
]
ODD_TEXTS += ["{{ x }}", "2026-02-30", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "<script>", "yes", "1e999"]
ODD_NUMBERS = [0, -1, 1, 10**400, -(10**30), 0.0, -0.0, 5e-324, 1e308, math.inf, -math.inf, math.nan]
SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS]), st.integers(), st.text())
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=8), SCALARS, max_size=3))
EXAMPLES = int(os.environ.get("EXP_FUZZ_EXAMPLES", "25"))  # some hundreds of each have found what is mended now
PLENTY = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each kind of file, and under `root` the folder of their clone."""
    project = make_project(tmp_path_factory.mktemp("fuzzed"))
    (project.root / "configs" / "streams").mkdir(exist_ok=True)
    (project.root / FILES["streams"]).write_text(yaml.safe_dump(STREAM))
    return {kind: (project.root / file).read_text() for kind, file in FILES.items()} | {"root": str(project.root)}


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each key and of each element of a list."""
    items: Any = (
        content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    )
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


@st.composite
def changed(draw: st.DrawFn, original: str) -> str:
    """The file with one or two keys that are gone, new, or hold another value."""
    content = copy.deepcopy(yaml.safe_load(original))
    for _ in range(draw(st.integers(1, 2))):
        found = list(places(content))
        *above, key = draw(st.sampled_from(found)) if found else ("x",)
        node = content
        for part in above:
            node = node[part]
        how = draw(st.sampled_from(["value", "value", "gone", "new key"]))
        if how == "gone":
            del node[key]
        elif how == "new key" and isinstance(node, dict):
            node[draw(st.text(max_size=12))] = draw(VALUES)
        else:
            node[key] = draw(VALUES)
    return yaml.dump(content, Dumper=yaml.SafeDumper, allow_unicode=True, sort_keys=False)


@st.composite
def damaged(draw: st.DrawFn, original: str) -> bytes:
    """The file with some bytes replaced, left out or put in."""
    text = bytearray(original.encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 6))] = draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"&a ", b"*a", b"[" * 30, b": ", b"\n", b"!!x"]))
        )
    return bytes(text)


def read_again(originals: dict[str, str], kind: str, content: str | bytes) -> Project | None:
    """The project with one file of other content; None where the profile itself is refused in a sentence."""
    root = Path(originals["root"])
    for other, file in FILES.items():
        text = content if other == kind else originals[other]
        (root / file).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        return load_project(root / FILES["profile"])
    except ConfigError as error:
        assert kind == "profile", error
        assert is_said_of(str(error), FILES[kind])
        return None


def is_said_of(text: str, file: str) -> bool:
    """Each line of a refusal names the file that is wrong, and none is a stack of calls."""
    return all(file in line and "Traceback" not in line for line in text.splitlines())


@pytest.mark.parametrize("how", [changed, damaged])
@pytest.mark.parametrize("kind", FILES)
@PLENTY
@given(data=st.data())
def test_a_file_at_random_is_taken_or_refused_by_its_name(
    originals: dict[str, str], kind: str, how: Any, data: st.DataObject
) -> None:
    project = read_again(originals, kind, data.draw(how(originals[kind])))
    if project is None:
        return
    if kind in ("experiments", "streams"):
        assert OTHER in project.experiments, "a file of others stops nobody"
    for broken in (project.broken_metrics, project.broken_streams, project.broken):
        for reason in broken.values():
            assert kind == "profile" or is_said_of(reason, FILES[kind]) or kind == "metrics", reason
    for experiment in project.experiments.values():
        json.dumps(experiment.model_dump(mode="json"), allow_nan=False)  # no number that JSON has not
        assert re.fullmatch(r"[0-9a-f]{16}", project.config_hash(experiment))


@given(st.one_of(st.text(), st.from_regex(ID_PATTERN), st.sampled_from(ODD_TEXTS)))
def test_an_id_is_a_plain_word_or_refused(name: str) -> None:
    try:
        check_experiment_id(name)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert re.fullmatch(r"[a-z][a-z0-9_]{2,63}", name) and name != "index"


@given(st.one_of(st.text(), st.from_regex(RUN_ID), st.sampled_from(ODD_TEXTS)))
def test_a_run_id_has_no_separator_of_any_path_query_or_shell(name: str) -> None:
    if re.fullmatch(RUN_ID, name):
        assert not set(name) & set("/\\'\"`$;|&<>(){}* \n\t\x00%") and name[0] not in ".-~"


@given(st.one_of(st.text(), st.dates().map(str), st.sampled_from(ODD_TEXTS)))
def test_a_day_is_a_date_of_the_calendar_or_refused(text: str) -> None:
    try:
        day = parse_dt(text)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert str(day) == text and datetime(day.year, day.month, day.day, tzinfo=UTC)
