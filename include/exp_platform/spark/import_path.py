"""Where Python finds pyspark: in the environment, where its modules are compiled, not in Spark's archives.

Spark puts its archives of pyspark and py4j first on the import path of drivers and workers. An archive holds no
compiled modules, so that each process compiled nearly two hundred anew (half a second), and each task of a worker
read the archives' lists of files anew (0.1 s).
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec

_ARCHIVE = re.compile(r"(^|.*/)(pyspark\.zip|py4j-[^/]*\.zip|[^/]*\.jar)")


def without_archives(path: list[str]) -> list[str]:
    """The entries of an import path that are no archives of Spark's, in their order."""
    return [entry for entry in path if not _ARCHIVE.fullmatch(entry)]


def use_installed_packages() -> None:
    """Take Spark's archives off the import path, unless pyspark is nowhere else."""
    whole = sys.path[:]
    sys.path[:] = without_archives(whole)
    for entry in set(whole) - set(sys.path):
        sys.path_importer_cache.pop(entry, None)
    if find_spec("pyspark") is None or find_spec("py4j") is None:
        sys.path[:] = whole
