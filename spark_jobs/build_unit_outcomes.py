"""J4: cohort and metrics, one row per experiment × user."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("build_unit_outcomes")
