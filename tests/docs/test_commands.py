"""Every command of every page works as typed, in a fresh shell and in the folder of the clone.

A cheap command is run whole. A dear one, or one that changes something, is run in its dry form: `make -n`, `--help`,
`--collect-only`; then each option that the page gives is one that the command has. The first command of
`bin/airflow` and of `bin/spark-submit` gets a shell of its own, and so does each command that is run whole; others only
print their options, and share one process in a shell as fresh.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache

import pytest
from tests.docs.pages import PAGES, ROOT, all_blocks, commands_of, inline_code

WHOLE = (["make", "help"], ["bin/exp", "validate"])
ALONE = ("bin/airflow", "bin/spark-submit")  # `bin/exp validate` runs whole, and `bin/python` is what the others share
IN_ONE_PROCESS = (*ALONE, "bin/exp", "bin/python")
COMMANDS = [
    pytest.param(words, id=f"{block.place} {' '.join(words)}")
    for block in all_blocks()
    if block.language == "bash"
    for words in commands_of(block)
]


@cache
def fresh_shell(*words: str) -> str:
    """Run a command in a shell in which only HOME and PATH are set; it must succeed, and its output is returned."""
    clean = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(words, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@cache
def shared_helps() -> dict[tuple[str, ...], tuple[int, str]]:
    """Exit code and text of every dry form that asks for help, but for the first of each program."""
    forms = list(dict.fromkeys(tuple(dry_form(parameter.values[0])) for parameter in COMMANDS))
    helps = [form for form in forms if form[-1] == "--help" and form[0] in IN_ONE_PROCESS]
    firsts = {next(form for form in helps if form[0] == program) for program in ALONE}
    asked = [form for form in helps if form not in firsts]
    found = json.loads(fresh_shell("bin/python", "tests/docs/print_helps.py", json.dumps(asked)).splitlines()[-1])
    return {form: (code, text) for form, (code, text) in zip(asked, found, strict=True)}


def printed_by(dry: list[str]) -> str:
    """Run a dry form, which must succeed; its output."""
    if dry[-1] != "--help" or dry[0] not in IN_ONE_PROCESS or tuple(dry) not in shared_helps():
        return fresh_shell(*dry)
    code, text = shared_helps()[tuple(dry)]
    assert code == 0, f"{' '.join(dry)}: exit code {code}\n{text}"
    return text


def dry_form(words: list[str]) -> list[str]:
    """The command that shows that `words` would be understood, without doing it; refused where none is known."""
    match words:
        case _ if words in WHOLE:
            return words
        case ["make", *_]:
            return ["make", "-n", *words[1:]]
        case ["bin/exp", command, *_]:
            return ["bin/exp", command, "--help"]
        case ["bin/dbt", *command] if (ROOT / ".venv-dbt").is_dir():
            return ["bin/dbt", *command[: 2 if command[0] == "source" else 1], "--help"]
        case ["bin/dbt", *_]:
            return ["true"]  # without an environment for dbt nothing can be asked; CI has one
        case ["bin/airflow", group, command, *_]:
            return ["bin/airflow", group, command, "--help"]
        case ["bin/spark-submit", job, *_] if job.startswith("spark_jobs/"):
            return ["bin/spark-submit", job, "--help"]
        case ["bin/python", "-m", "pytest", *rest]:
            return ["bin/python", "-m", "pytest", *rest, "--collect-only", "-q"]
        case ["bin/python", "-m", "pdb", script, *_] | ["bin/python", script, *_] if (ROOT / script).is_file():
            return ["bin/python", script, "--help"]
        case ["bin/python", "-m", module, *_]:
            return ["bin/python", "-m", module, "--help"]
        case ["bin/python", "-c", script]:
            compile(script, "command", "exec")
            return ["bin/python", "--version"]
        case ["cp", source, _] if (ROOT / source).is_file():
            return ["true"]
        case ["docker", "compose", *_] if (ROOT / "docker-compose.yml").is_file():
            return ["true"]  # tests/unit/test_compose.py reads the file
    raise AssertionError(f"`{' '.join(words)}`: how to run this command dry is not known; see dry_form")


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_works_as_typed(words: list[str]) -> None:
    dry = dry_form(words)
    printed = printed_by(dry)
    if dry[-1] == "--help":
        typed = words[4:] if words[1:3] == ["-m", "pdb"] else words[3:] if words[1:2] == ["-m"] else words
        options = {word.split("=")[0] for word in typed if re.match(r"--?[a-z]", word)}
        unknown = {option for option in options if not re.search(rf"{option}\b", printed)}
        assert not unknown, f"`{' '.join(words)}`: no such option: {', '.join(sorted(unknown))}\n{printed}"


def test_the_dags_that_the_commands_name_are_there() -> None:
    named = {
        words[words.index("--dag-id") + 1] if "--dag-id" in words else words[3]
        for words in (parameter.values[0] for parameter in COMMANDS)
        if words[:2] in (["bin/airflow", "dags"], ["bin/airflow", "backfill"]) and len(words) > 3
    }
    assert named
    assert named <= {file.stem for file in (ROOT / "dags").glob("*.py")}


def test_a_make_target_or_exp_command_in_the_text_is_one_that_is_there() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    commands = set(re.findall(r"^  ([a-z-]+)  ", fresh_shell("bin/exp", "--help"), flags=re.MULTILINE))
    assert {"demo", "setup"} <= targets
    assert {"run", "show"} <= commands
    unknown = []
    for page in PAGES:
        for code in inline_code(page.read_text()):
            if (match := re.match(r"make ([a-z-]+)", code)) and match[1] not in targets:
                unknown.append(f"{page.relative_to(ROOT)}: {code}")
            if (match := re.match(r"(?:bin/)?exp ([a-z-]+)", code)) and match[1] not in commands:
                unknown.append(f"{page.relative_to(ROOT)}: {code}")
    assert not unknown


@pytest.mark.parametrize("words", [["rm", "-rf", "data"], ["spark-submit", "spark_jobs/ingest_events.py"]])
def test_a_command_that_is_not_known_is_refused(words: list[str]) -> None:
    with pytest.raises(AssertionError, match="is not known"):
        dry_form(words)
