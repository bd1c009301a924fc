"""Create the missing object-store buckets of a profile: `python -m exp_platform.lake.object_store --config C`."""

from __future__ import annotations

import argparse
import sys

from pyarrow.fs import FileType

from exp_platform.config.load import Project, load_project
from exp_platform.errors import ExpError
from exp_platform.lake.raw_zone import filesystem


def ensure_buckets(project: Project) -> list[str]:
    """Create the missing buckets of raw zone, warehouse and pages, and return the names of all."""
    names = []
    profile = project.profile
    words = (profile.submit.outcomes,) if profile.submit.outcomes else ()
    for location in (project.raw_root, profile.catalog.warehouse, profile.memo_dir, profile.docs_dir, *words):
        if location.startswith(("s3://", "s3a://")):
            names.append(ensure_bucket(project, location))
    return list(dict.fromkeys(names))


def ensure_bucket(project: Project, location: str) -> str:
    """Create the bucket of one location where it is missing, and return its name."""
    files, path = filesystem(project, location, new_buckets=True)
    bucket = path.split("/", 1)[0]
    if files.get_file_info(bucket).type == FileType.NotFound:
        files.create_dir(bucket, recursive=False)
    return bucket


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=None)
    try:
        print("\n".join(ensure_buckets(load_project(parser.parse_args().config))))
    except ExpError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
