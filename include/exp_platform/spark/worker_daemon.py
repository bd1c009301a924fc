"""The process from which Spark forks its Python workers: loads once what each worker would load for itself."""

import gc

from exp_platform.spark.import_path import use_installed_packages

if __name__ == "__main__":
    use_installed_packages()

    import pyspark.worker  # noqa: F401  (each worker imports the module by its name)
    from pyspark.daemon import manager

    import exp_platform.lake.arrow_files  # noqa: F401  (most tasks in Python write their rows by it)

    # Spark's workers collect garbage after each task. Looking through all that is loaded here, which never becomes
    # garbage, took several times as long as a small task itself.
    gc.collect()
    gc.freeze()
    manager()  # type: ignore[no-untyped-call]
