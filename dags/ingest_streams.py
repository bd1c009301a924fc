"""
# ingest_streams

Every midnight (UTC), one day after the other: each stream of `configs/streams/` is ingested once, behind its contract,
for all experiments that read it. `daily_experiments` waits for the streams of an experiment and says which one is late.
The asset `stream/<name>` is updated with the day, for whoever else waits for it.

**Backfill:** `bin/airflow backfill create --dag-id ingest_streams --from-date 2026-02-02 --to-date 2026-02-11`; a run
dated D ingests everything that is there, and reports what is late by the day before D. Running it again is always safe.

## When it fails

| red | what happened | what to do |
|---|---|---|
| `refused_streams` | files in configs/streams are broken; the other streams went on | mend what its log names |
| `landed` of one stream | its files did not come in time | ask its owner, then clear it |
| `ingest`, exit 65 | the data broke the stream's contract; its readers are blocked, there is one alert | see \
`ops.quarantine`, mend the data, clear it |
| `ingest`, exit 66 | a newer run of this stream took over | nothing |
| `ingest`, anything else | a fault, already retried | mend it, clear the task |

One red stream never stops the others.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from exp_platform.airflow import daily
from exp_platform.airflow import stream_tasks as streams
from exp_platform.airflow.dag_parts import DEFAULT_ARGS
from exp_platform.airflow.params import config_param
from exp_platform.paths import clone_root

with DAG(
    dag_id="ingest_streams",
    description="Ingest each stream of events once for all experiments that read it",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"config": config_param(clone_root())},
    default_args=DEFAULT_ARGS,
    tags=["experiments", "tier:1", "spark", "schedule"],
) as dag:
    found = streams.find_streams()
    daily.EarlierDaysFirst(task_id="earlier_days_first") >> found
    streams.ingest_stream.expand(stream=found)
    streams.refused_streams()
