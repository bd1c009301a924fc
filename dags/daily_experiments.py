"""
# daily_experiments

Every midnight (UTC), one day after the other: it finds the experiments that are due for the day that has just ended,
waits for their raw data, and starts one `experiment_analysis` run for each. A day is due from the experiment's start
until the longest metric window of its last user has closed.

**Backfill:** `bin/airflow backfill create --dag-id daily_experiments --from-date 2026-02-02 --to-date 2026-02-11`;
a run dated D analyses the day before D. An older day never moves the tables that show the latest.

## When it fails

| red | what happened | what to do |
|---|---|---|
| `morning` | one of the below; its error names each experiment with the gate or stage that failed | see there |
| `refused_configs` | files of configuration are refused; the other experiments went on | mend what its log names |
| `raw_ready` of one experiment | its raw data did not land in time | ask the team that delivers them, then clear it |
| `analyse` of one experiment | its own run is red, and was not on the day before | see `experiment_analysis` |
| `retry_alerts` | the alert table could not be read | clear it; alerts wait there until they are sent |

One red experiment never stops the others. An experiment whose gate fails as on the day before is known: its `analyse`
is skipped and says since when, so that a red morning is always news. Slack gets one message on each experiment that
needs a person, and one on all the healthy ones.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from exp_platform.airflow import daily
from exp_platform.airflow.dag_parts import DEFAULT_ARGS
from exp_platform.airflow.params import config_param
from exp_platform.paths import clone_root

with DAG(
    dag_id="daily_experiments",
    description="One experiment_analysis run for each experiment that is due",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"config": config_param(clone_root())},
    default_args=DEFAULT_ARGS,
    tags=["experiments", "tier:1", "schedule"],
) as dag:
    due = daily.find_due()
    daily.EarlierDaysFirst(task_id="earlier_days_first") >> due
    analysed = daily.analyse_experiment.expand(experiment=due)
    [due, analysed, daily.refused_configs(), daily.retry_alerts()] >> daily.morning()
