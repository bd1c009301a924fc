"""A program run in the environment of this clone: what `bin/exp`, `bin/airflow`, `bin/spark-submit`, `bin/python` do.

Airflow is not imported here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from exp_platform.airflow.home import Home
from exp_platform.airflow.local import pool_slots, recorded
from exp_platform.config.load import load_project
from exp_platform.errors import ConfigError, ExpError
from exp_platform.paths import clone_root
from exp_platform.spark.jars import CORE, require_jars
from exp_platform.spark.java import find_java_home
from exp_platform.spark.session import launch_conf

_NO_DATABASE = {"--help", "-h", "version"}  # words of an airflow command that needs no database

Command = tuple[list[str], dict[str, str]]  # what to run, and in which environment


def local_home() -> Home:
    """The Airflow of `make up`, at the port where it listens now."""
    home = Home(clone_root() / "data" / "airflow")
    return Home(home.folder, recorded(home)["port"])


def clone_environment(home: Home) -> dict[str, str]:
    """Everything that `make up` sets, and Java, Spark and Python of this clone."""
    spark = importlib.util.find_spec("pyspark")
    environment = home.environment() | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    if spark is not None and spark.origin is not None:
        environment["SPARK_HOME"] = str(Path(spark.origin).parent)
    with contextlib.suppress(ConfigError):  # a command that needs Java says so itself; `exp validate` needs none
        environment["JAVA_HOME"] = find_java_home()
    return environment


def exp(home: Home, arguments: Sequence[str]) -> Command:
    """The `exp` command."""
    return [sys.executable, str(Path(sys.executable).with_name("exp")), *arguments], clone_environment(home)


def python(home: Home, arguments: Sequence[str]) -> Command:
    """Python itself."""
    return [sys.executable, *arguments], clone_environment(home)


def airflow(home: Home, arguments: Sequence[str]) -> Command:
    """The `airflow` command; its database is made first, where it is missing."""
    if arguments and not _NO_DATABASE & set(arguments):
        home.prepare(pool_slots())
    return [sys.executable, "-m", "airflow", *arguments], clone_environment(home)


def spark_submit(home: Home, arguments: Sequence[str]) -> Command:
    """`spark-submit` with master, class path, heap and class archive of the profile, as the stage operator starts it.

    Options that are typed come after these, and win.
    """
    find_java_home()
    require_jars(CORE, "make setup")
    project = load_project(_config_of(arguments), only=())
    environment = clone_environment(home)
    command = [f"{environment['SPARK_HOME']}/bin/spark-submit", "--master", project.profile.spark.master]
    for key, value in launch_conf(project).items():
        command += ["--conf", f"{key}={value}"]
    return [*command, *map(_found, arguments)], environment


def _config_of(arguments: Sequence[str]) -> str | None:
    """The profile that the job is told to read, with `--config=FILE` or `--config FILE`."""
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word.startswith("--config="):
            return word.removeprefix("--config=")
        if word == "--config":
            return following
    return None


def _found(word: str) -> str:
    """A job such as `spark_jobs/build_assignments.py` is found in the clone from other folders too."""
    job = clone_root() / word
    return str(job) if word.endswith(".py") and not Path(word).exists() and job.exists() else word


PROGRAMS = {"exp": exp, "python": python, "airflow": airflow, "spark-submit": spark_submit}


def main(argv: Sequence[str]) -> NoReturn:
    """Become the program that the first word names."""
    program, *arguments = argv
    try:
        command, environment = PROGRAMS[program](local_home(), arguments)
    except ExpError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    os.execve(command[0], command, environment)  # noqa: S606  replaces this process; there is no shell


if __name__ == "__main__":
    main(sys.argv[1:])
