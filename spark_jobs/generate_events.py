"""Generate synthetic events for one experiment; only where the profile says synthetic: true."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("generate_events")
