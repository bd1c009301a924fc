"""`exp doctor`: check this installation, and say how to repair what is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from exp_platform.cli import CONFIG, app, console, for_people
from exp_platform.config.load import Project, load_project
from exp_platform.errors import ExpError


def _java(_: Project) -> str:
    from exp_platform.spark.java import find_java_home

    return find_java_home()


def _jars(project: Project) -> str:
    from exp_platform.spark.catalog_settings import needs_aws
    from exp_platform.spark.jars import CORE, OBJECT_STORE, require_jars

    require_jars(CORE, "make setup")
    if needs_aws(project):
        require_jars(OBJECT_STORE, "make setup-object-store")
    return "all there"


def _configuration(project: Project) -> str:
    refused = project.refusals()
    if refused:
        raise ExpError(f"{len(refused)} mistakes, the first: {refused[0]}; `exp validate` shows all")
    return f"{len(project.metrics)} metrics, {len(project.experiments)} experiments"


def _catalog(project: Project) -> str:
    from exp_platform.lake.catalog import load_catalog
    from exp_platform.lake.catalog_properties import location_of
    from exp_platform.lake.metadata_files import metadata_files
    from exp_platform.lake.tables import NAMESPACES, TABLES

    catalog = load_catalog(project)
    lost = [
        name
        for name in TABLES
        if (place := location_of(project, name)) and metadata_files(project, place) and not catalog.table_exists(name)
    ]
    if lost:
        raise ExpError(
            f"the warehouse holds {len(lost)} tables that the catalog does not know ({lost[0]}, …): put the catalog's "
            "backup back, or run `exp doctor --recover`"
        )
    found = {name[0] for name in catalog.list_namespaces()}
    tables = sum(len(catalog.list_tables(name)) for name in found & set(NAMESPACES))
    return f"{tables} tables" if tables else "answers, and is empty: the first run creates the tables"


def _raw_zone(project: Project) -> str:
    from pyarrow import fs

    from exp_platform.lake.raw_zone import filesystem

    files, path = filesystem(project, project.raw_root)
    there = files.get_file_info(path).type != fs.FileType.NotFound
    return project.raw_root if there else f"{project.raw_root} is not there yet: land events, or `exp synth ID`"


def _places(project: Project) -> str:
    """Write a file into every place that a run writes to, and delete it again."""
    profile = project.profile
    places = [profile.memo_dir, profile.docs_dir]
    if profile.catalog.type != "rest":  # such a warehouse may take the files of tables alone: see `--deep`
        places.append(profile.catalog.warehouse)
    if profile.catalog.type == "sqlite":
        places.append(str(Path(profile.catalog.uri).parent))
    for place in places:
        _probe(project, project.resolve(place))
    return f"a file could be written to each of {len(places)} places"


def _probe(project: Project, place: str) -> None:
    from exp_platform.lake.raw_zone import filesystem

    files, path = filesystem(project, place)
    file = f"{path}/_exp_doctor_{os.getpid()}"
    try:
        files.create_dir(path, recursive=True)
        with files.open_output_stream(file) as stream:
            stream.write(b"written by `exp doctor`, which deletes it again")
        files.delete_file(file)
    except OSError as error:
        raise ExpError(f"{place} cannot be written to ({error}): give this user the right to write there") from None


def _disk(project: Project) -> str:
    free = shutil.disk_usage(project.root).free / 1e9
    if free < 2:
        raise ExpError(f"only {free:.1f} GB free below {project.root}: make room")
    return f"{free:.0f} GB free"


def _slack(_: Project) -> str:
    if os.environ.get("SLACK_WEBHOOK_URL") or os.environ.get("AIRFLOW_CONN_SLACK_DEFAULT"):
        return "a webhook is configured"
    return "no webhook: alerts are logged and kept in ops.alerts; set SLACK_WEBHOOK_URL, or slack_default in Airflow"


CHECKS: dict[str, Callable[[Project], str]] = {
    "configuration": _configuration,
    "java": _java,
    "jars": _jars,
    "catalog": _catalog,
    "raw zone": _raw_zone,
    "places": _places,
    "disk": _disk,
    "slack": _slack,
}


def diagnose(project: Project) -> Iterator[tuple[str, bool, str]]:
    """For every check its name, True when it passed, and a sentence on what was found."""
    for name, check in CHECKS.items():
        try:
            yield name, True, check(project)
        except Exception as error:  # a doctor reports whatever a check runs into
            yield name, False, str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@for_people
def _recover(config: str | None) -> None:
    from exp_platform.operations.recover import recover

    for sentence in recover(load_project(config)):
        console.print(sentence, markup=False, soft_wrap=True)


@for_people
def _certify(project: Project) -> bool:
    """Print the certificate of catalog and store; True when no proof failed."""
    from exp_platform.operations.certificate import certify

    good, seconds = True, 0.0
    for found in certify(project):
        good, seconds = good and found.verdict != "WRONG", seconds + found.seconds
        line = f"{found.verdict:<5}  {found.name:<15} {found.sentence} ({found.seconds:.1f} s)"
        console.print(line, markup=False, soft_wrap=True)
    settings = project.profile.catalog
    where = "an object store" if project.profile.object_store else "a local folder"
    word = "certified" if good else "NOT certified: do not publish with it"
    console.print(f"catalog {settings.type} on {where}: {word} ({seconds:.1f} s)", markup=False, soft_wrap=True)
    return good


@app.command()
def doctor(
    recover: bool = typer.Option(False, "--recover", help="First register tables that the catalog has lost."),
    deep: bool = typer.Option(False, "--deep", help="Also prove on a scratch table what the catalog keeps."),
    config: str | None = CONFIG,
) -> None:
    """Check Java, jars, catalog, raw zone, disk and Slack, and say how to repair what is wrong."""
    if recover:
        _recover(config)
    try:
        project = load_project(config)
    except ExpError as error:
        console.print(f"WRONG  configuration  {error}", markup=False)
        raise typer.Exit(1) from None
    well = True
    for name, good, seen in diagnose(project):
        well = well and good
        console.print(f"{'ok   ' if good else 'WRONG'}  {name:<14} {seen}", markup=False, soft_wrap=True)
    if deep:
        well = _certify(project) and well
    raise typer.Exit(0 if well else 1)
