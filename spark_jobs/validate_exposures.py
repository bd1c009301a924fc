"""J2: validate exposures, one row per experiment × user, and judge each day's quality."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("validate_exposures")
