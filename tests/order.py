"""The order in which test files start: workers take whole files, so that what takes longest must not come last."""

from __future__ import annotations

from collections.abc import Collection

# By the processor seconds that `make test` prints, dearest first. What mostly waits for Airflow begins beside
# what computes. A file that is missing here starts by its marks.
DEAREST = (
    "tests/e2e/test_airflow_scheduler.py",
    "tests/faults/test_detection.py",
    "tests/spark/ingest/test_streams.py",
    "tests/e2e/test_airflow_gates.py",
    "tests/spark/metrics/test_statistics_stage.py",
    "tests/spark/quality/test_excluded_days.py",
    "tests/spark/metrics/test_random_days.py",
    "tests/spark/ingest/test_incremental.py",
    "tests/spark/lake/test_staging.py",
    "tests/e2e/test_object_store.py",
    "tests/spark/metrics/test_unit_outcomes_stage.py",
    "tests/unit/calibration/test_calibration.py",
    "tests/oracle/test_spine_oracle.py",
    "tests/spark/metrics/test_excluded_outcomes.py",
    "tests/e2e/test_dbt_project.py",
    "tests/spark/quality/test_trust_stages.py",
    "tests/oracle/test_assignment_exposure_oracle.py",
    "tests/faults/test_lake_writers.py",
    "tests/spark/synth/test_generate.py",
    "tests/spark/operations/test_reproduce.py",
    "tests/faults/test_ingest_bad_input.py",
    "tests/spark/metrics/test_series_stage.py",
    "tests/spark/metrics/test_exposure_statistics.py",
    "tests/spark/ingest/test_events_in.py",
    "tests/dags/test_real_runs.py",
    "tests/dags/test_stream_real_run.py",
    "tests/faults/test_ledger_histories.py",
    "tests/faults/test_torture.py",
    "tests/docs/test_commands.py",
)
MARKS = ("slow", "spark", "airflow")  # then files with such a test, in this order; then all others


def rank(file: str, marks: Collection[str]) -> int:
    """The place of a file among all, from its path in the clone and the marks of its tests; the lowest starts first."""
    if file in DEAREST:
        return DEAREST.index(file)
    return len(DEAREST) + next((n for n, mark in enumerate(MARKS) if mark in marks), len(MARKS))
