"""The process from which Spark forks its Python workers: loads once what each worker would load for itself.

Spark puts its own zip archives first on the workers' path, and each task makes Python forget what is cached of the
path: to read an archive's list of files anew cost each task 0.1 s. The archives hold pyspark and py4j, which are
installed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def without_archives(path: list[str]) -> list[str]:
    """The folders of an import path, in their order."""
    return [entry for entry in path if not entry.endswith((".zip", ".jar"))]


def use_installed_packages() -> None:
    """Take Spark's archives off the import path, unless pyspark is nowhere else."""
    whole = sys.path[:]
    sys.path[:] = without_archives(whole)
    for entry in set(whole) - set(sys.path):
        sys.path_importer_cache.pop(entry, None)
    if find_spec("pyspark") is None or find_spec("py4j") is None:
        sys.path[:] = whole


if __name__ == "__main__":
    use_installed_packages()

    import pyspark.worker  # noqa: F401  (each worker imports the module by its name)
    from pyspark.daemon import manager

    import exp_platform.lake.arrow_files  # noqa: F401  (most tasks in Python write their rows by it)

    manager()  # type: ignore[no-untyped-call]
