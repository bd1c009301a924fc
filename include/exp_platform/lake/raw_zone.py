"""Listing of the raw zone without a Spark session, in local folders and S3-compatible stores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date

from pyarrow import fs

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.schemas import DATASETS

_DAY = re.compile(r"dt=(\d{4}-\d{2}-\d{2})", re.ASCII)


def filesystem(project: Project, location: str, new_buckets: bool = False) -> tuple[fs.FileSystem, str]:
    """The file system of a location, and the location's path in it."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return fs.LocalFileSystem(), location
    store = project.profile.object_store
    if scheme in ("s3", "s3a") and store is not None:
        return (
            fs.S3FileSystem(
                access_key=store.access_key,
                secret_key=store.secret_key,
                region=store.region,
                endpoint_override=store.endpoint,
                force_virtual_addressing=not store.path_style,
                allow_bucket_creation=new_buckets,
            ),
            rest.rstrip("/"),
        )
    files, path = fs.FileSystem.from_uri(location)
    return files, str(path)


def require_bucket(project: Project, location: str) -> None:
    """Refuse a location in a bucket that is not there: a missing bucket lists no files, as an empty one does."""
    scheme, _, rest = location.partition("://")
    if scheme not in ("s3", "s3a"):
        return
    files, _ = filesystem(project, location)
    bucket = rest.split("/", 1)[0]
    if files.get_file_info(bucket).type == fs.FileType.NotFound:
        store = project.profile.object_store
        raise ConfigError(
            f"the bucket {bucket!r} of {location} is not in the object store"
            f"{f' {store.endpoint}' if store else ''}. Correct the location, or create the buckets of the profile with "
            "`python -m exp_platform.lake.object_store`"
        )


def list_days(project: Project, experiment_id: str) -> list[date]:
    """The days named by the `dt=` folders of the experiment's datasets, sorted; empty without raw data."""
    files, folder = filesystem(project, project.raw_folder(experiment_id))
    days: set[date] = set()
    for found in files.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        if found.type == fs.FileType.Directory and found.base_name in DATASETS:
            days |= set(_named_days(day.base_name for day in files.get_file_info(fs.FileSelector(found.path))))
    if not days:
        require_bucket(project, project.raw_root)
    return sorted(days)


def _named_days(names: Iterable[str]) -> Iterator[date]:
    """The days that folder names spell. An impossible date such as 2026-02-30 is skipped here; its files still count.

    >>> list(_named_days(["dt=2026-01-05", "dt=2026-02-30", "_tmp"]))
    [datetime.date(2026, 1, 5)]
    """
    for match in map(_DAY.fullmatch, names):
        with suppress(ValueError):
            if match:
                yield date.fromisoformat(match.group(1))
