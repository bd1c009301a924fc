"""The archive that executors unpack: the platform's code and the Python packages that its kernels import.

An executor needs Java, Spark and Python 3.11, and nothing of this clone. The archive is a folder for the import path;
a packed virtual environment would carry an interpreter that finds its own standard library by a path of this machine.
"""

from __future__ import annotations

import hashlib
import py_compile
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from exp_platform.errors import ConfigError
from exp_platform.paths import clone_root
from exp_platform.version import code_version

PACKAGE = Path(".setup") / "executor.zip"
# What the kernels of `KERNELS` import, beside pyspark, which an executor's Spark brings along.
DISTRIBUTIONS = ("mmh3", "numpy", "pyarrow", "pydantic", "pyiceberg")
# Modules whose functions run in executors; they know neither the catalog nor a database.
KERNELS = (
    "exp_platform.lake.arrow_files",
    "exp_platform.lake.batches",
    "exp_platform.spark.worker_daemon",
    "exp_platform.sums.calendar_sums",
    "exp_platform.sums.event_bins",
    "exp_platform.sums.panel_events",
    "exp_platform.sums.series_sums",
    "exp_platform.transforms.event_pass",
    "exp_platform.transforms.exposure_sums",
    "exp_platform.transforms.unit_outcomes",
)
_NOT_NEEDED = re.compile(r"(^|/)(tests?|include|__pycache__)/|\.(pyi|pyx|pxd|pxi|h|hpp|cpp|c|a)$|^\.\./")
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def code_stamp() -> str:
    """A fingerprint of what the archive is made from: the platform's code and the versions of the packages."""
    packages = [(name, metadata.version(name)) for name in distributions()]
    return f"{code_version()} {hashlib.sha256(repr(packages).encode()).hexdigest()[:12]}"


def distributions() -> list[str]:
    """The distributions of `DISTRIBUTIONS` and everything that they require here, extras left out; sorted."""
    found: dict[str, str] = {}
    wanted = list(DISTRIBUTIONS)
    while wanted:
        name = wanted.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # required on another platform
            continue
        found[key] = name
        wanted += [_name_of(line) for line in requires if "extra ==" not in line]
    return sorted(found)


def require_package(archive: Path) -> None:
    """Refuse an archive that is missing, or was made from other code than the driver runs."""
    if not archive.exists():
        raise ConfigError(f"spark.executor_package: {archive} is not there: run `make package`")
    try:
        stamp = _stamp_of(archive)
    except zipfile.BadZipFile:
        raise ConfigError(f"spark.executor_package: {archive} is no zip archive: run `make package`") from None
    if stamp != code_stamp():
        raise ConfigError(f"spark.executor_package: {archive} was made from other code: run `make package`")


def current_package(archive: Path) -> Path:
    """The archive, written only if the one that is there was made from other code or other packages."""
    try:
        made_from = _stamp_of(archive)
    except (FileNotFoundError, zipfile.BadZipFile):
        made_from = None
    return archive if made_from == code_stamp() else write_package(archive)


def write_package(archive: Path) -> Path:
    """Write the archive and move it into place."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    half = archive.with_suffix(".half")
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened:
        opened.comment = code_stamp().encode()
        for name, path in sorted({**_installed(), **_own()}.items()):
            _add(opened, name, path)
    half.replace(archive)
    return archive


def _stamp_of(archive: Path) -> str:
    """The fingerprint that an archive was written with."""
    with zipfile.ZipFile(archive) as opened:
        return opened.comment.decode(errors="replace")


def _installed() -> dict[str, Path]:
    """The files of the distributions, by their path below the folder of packages."""
    files: dict[str, Path] = {}
    for distribution in map(metadata.distribution, distributions()):
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if not _NOT_NEEDED.search(str(file)) and path.is_file():
                files[str(file)] = path
    return files


def _own() -> dict[str, Path]:
    return {str(path.relative_to(_code_root())): path for path in _own_code()}


def _own_code() -> Iterator[Path]:
    paths = sorted((_code_root() / "exp_platform").rglob("*"))
    return (path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def _code_root() -> Path:
    return clone_root() / "include"


def _name_of(requirement: str) -> str:
    match = _REQUIREMENT.match(requirement)
    assert match is not None, requirement
    return match.group()


def _add(opened: zipfile.ZipFile, name: str, path: Path) -> None:
    """Add a file, and beside a module its bytecode, which else each executor would compile for itself."""
    opened.writestr(_entry(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    if not name.endswith(".py"):
        return
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "module.pyc"
        try:
            py_compile.compile(
                str(path),
                str(compiled),
                name,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError:  # a template, or a file for another version of Python
            return
        above, _, module = name.rpartition("/")
        cached = f"{above}/__pycache__/{module[:-3]}.{sys.implementation.cache_tag}.pyc".lstrip("/")
        opened.writestr(_entry(cached), compiled.read_bytes(), zipfile.ZIP_DEFLATED)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry with a fixed time and mode, so that the same code gives the same archive."""
    entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry


if __name__ == "__main__":
    written = current_package(clone_root() / PACKAGE)
    print(f"{written.relative_to(clone_root())}: {written.stat().st_size / 2**20:.0f} MB")
