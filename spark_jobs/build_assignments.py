"""J1: one canonical assignment per experiment × user."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("build_assignments")
