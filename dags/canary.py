"""
# canary

Every night at 04:00 UTC, for each experiment that has a decision and whose data still changes: some of its published
numbers are computed once more, from the raw files, by another implementation (DuckDB; the stages use Spark). Counts and
sums must agree to the last bit, means, differences and panels to 1e-12; quantiles lie in the right bin. The verdict is
written to `ops.second_opinions`, to the memo and to the index page. Beside that `shorten_histories` drops snapshots of
the tables `ops.*` older than a day: each snapshot makes each commit slower, and nobody reads these tables as they were.

## When it fails

| red | what happened | what to do |
|---|---|---|
| `check_numbers`, "differ" | a published number is not what the raw files say; the experiment is not trusted, an \
alert was sent | `bin/exp run <id> --full-refresh`, then `bin/exp canary <id>`; equal now: a data file was damaged; \
still different: one implementation is wrong, its first differences are in the log |
| `shorten_histories` | the catalog was busy or away; already retried | nothing: tomorrow's run does it |
| `check_numbers`, anything else | a fault, already retried | read the line above ERROR, clear the task |

An experiment that could not be checked (its raw files have changed since the run, its configuration has) is green and
says why. Missing a night does no harm.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from exp_platform.airflow import canary
from exp_platform.airflow.dag_parts import DEFAULT_ARGS
from exp_platform.airflow.params import config_param
from exp_platform.paths import clone_root

with DAG(
    dag_id="canary",
    description="Published numbers once more, by other code from the raw files",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 4 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    params={"config": config_param(clone_root())},
    default_args=DEFAULT_ARGS,
    tags=["experiments", "tier:2", "schedule"],
) as dag:
    canary.check_numbers.expand(experiment_id=canary.find_published())
    canary.shorten_histories()
