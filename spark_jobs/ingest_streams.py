"""Ingest one stream of events for all experiments that read it: see exp_platform/pipelines/stages/ingest_streams.py."""

from exp_platform.pipelines.stream_job import main

if __name__ == "__main__":
    main()
