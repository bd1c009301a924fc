"""The process from which Spark forks its Python workers: loads once what each worker would load for itself."""

from exp_platform.spark.import_path import use_installed_packages

if __name__ == "__main__":
    use_installed_packages()

    import pyspark.worker  # noqa: F401  (each worker imports the module by its name)
    from pyspark.daemon import manager

    import exp_platform.lake.arrow_files  # noqa: F401  (most tasks in Python write their rows by it)

    manager()  # type: ignore[no-untyped-call]
