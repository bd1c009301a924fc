"""J8: guardrails, one row per metric × arm, and the decision."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("check_guardrails")
