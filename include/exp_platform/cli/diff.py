"""`exp diff`: what a change of configuration touches."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import typer

from exp_platform.cli import CONFIG, app, console, for_people
from exp_platform.config.change import Change, changes
from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError

_JSON = typer.Option(False, "--json", help="As JSON, for programs.")


@app.command()
@for_people
def diff(base: str, as_json: bool = _JSON, config: str | None = CONFIG) -> None:
    """Compare the configuration with that of a Git revision: what differs, and which running experiments it touches.

    Exit code 64 says that a change must not be merged: a definition that changes under its version, a broken file.
    """
    now = load_project(config)
    with state_at(base, now) as before:
        found = changes(before, now)
    if as_json:
        print(json.dumps([asdict(change) for change in found], indent=2, ensure_ascii=False))
    else:
        console.print("\n".join(text_of(found, base)), markup=False, soft_wrap=True)
    if any(change.problem for change in found):
        raise typer.Exit(ConfigError.exit_code)


def text_of(found: list[Change], base: str) -> Iterator[str]:
    """The changes as lines for people."""
    if not found:
        yield f"nothing differs from {base}"
    for change in found:
        yield f"{change.kind} {change.name}: {change.what}"
        yield from (f"    {detail}" for detail in change.details)
        if change.touches:
            yield f"    touches running: {', '.join(change.touches)}"
        if change.problem:
            yield f"    REFUSED: {change.problem}"


@contextmanager
def state_at(base: str, now: Project) -> Iterator[Project]:
    """The project as its files were at a Git revision."""
    profile = now.path.relative_to(now.root)
    done = subprocess.run(
        ["git", "-C", str(now.root), "archive", "--format=tar", base, "--", str(profile.parent)],  # noqa: S607  git is found on the PATH
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason was given"])[-1]
        raise ConfigError(f"diff: Git has no {profile.parent}/ at '{base}' ({said}); name a revision such as main")
    with tempfile.TemporaryDirectory(prefix="exp-diff-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        path = Path(folder) / profile
        if not path.is_file():
            raise ConfigError(f"diff: {profile} does not exist at '{base}'")
        try:
            before = load_project(path)
        except ConfigError as error:
            raise ConfigError(f"diff: this release cannot read the configuration at '{base}': {error}") from None
        yield before
