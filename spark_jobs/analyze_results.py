"""J6: effects by A/B, CUPED and difference in differences, one row per metric × method × arm × segment."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("analyze_results")
