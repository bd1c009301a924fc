"""J5: sufficient statistics, one row per metric × variant × segment × cohort date or unit bucket."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("aggregate_metrics")
