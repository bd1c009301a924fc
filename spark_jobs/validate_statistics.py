"""J7: sample ratio, power and sanity, one row per check."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("validate_statistics")
