"""Ingest raw events behind their contracts: distinct valid events in, refused rows into quarantine."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("ingest_events")
