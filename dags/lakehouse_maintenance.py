"""
# lakehouse_maintenance

Every Sunday at 03:00 UTC, one step after the other:

- `compact` rewrites small files, experiment by experiment under its claim; it skips an experiment that a run works on
- `expire_snapshots` drops old snapshots, but none that a published result is pinned to
- `remove_orphan_files` deletes files that belong to no snapshot and are too old to belong to a running write
- `drop_old_quarantine` deletes refused rows after `quarantine.retain_days`

No answer changes. Interrupting it at any time is safe, and so is running it again.

## When it fails

One red step does not stop the next. The line above ERROR in its log is one sentence for you. `compact` with exit 75:
runs kept changing the same tables; clear it when fewer runs are active. Out of memory: raise `spark.driver_memory` in
the profile. A week without maintenance does no harm: reads become slower and the store larger.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, chain

from exp_platform.airflow.dag_parts import DEFAULT_ARGS
from exp_platform.airflow.params import config_param
from exp_platform.airflow.tasks import watcher
from exp_platform.airflow.upkeep import MaintenanceOperator
from exp_platform.paths import clone_root

STEPS = {
    "compact": "compact",
    "expire_snapshots": "expire",
    "remove_orphan_files": "orphans",
    "drop_old_quarantine": "quarantine",
}

with DAG(
    dag_id="lakehouse_maintenance",
    description="Compaction, snapshot expiry, orphan files, quarantine",
    doc_md=__doc__,
    # Without a start date and with no grace, the first run is next Sunday's, never last Sunday's at once.
    schedule=CronTriggerTimetable("0 3 * * 0", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    params={"config": config_param(clone_root())},
    default_args=DEFAULT_ARGS | {"trigger_rule": TriggerRule.ALL_DONE},
    tags=["lakehouse", "tier:3", "spark", "schedule"],
) as dag:
    steps = [MaintenanceOperator(task_id=name, step=step) for name, step in STEPS.items()]
    chain(*steps)
    steps >> watcher()
