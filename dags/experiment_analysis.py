"""
# experiment_analysis

Analyses one experiment as of one day: from raw events to a decision and its memo. Each stage is one Spark application;
its rows become visible only after their audit, for this experiment alone. Running it again is always safe.

**Trigger it** with the form (play button): pick the experiment, leave the date empty for yesterday.

**Gates** (`quality_gate`, `srm_gate`, `guardrail_gate`) turn red when the result must not be used. The results and the
memo are written all the same and say why. The asset `experiment_passed/<id>` is updated only when no gate is red and
the result is trusted.

## When it fails

The run's note names what failed and since when. In the red task's log the error is one sentence for you.

| red | what happened | what to do |
|---|---|---|
| `resolve_run`, or exit 64 | the conf or a file in configs/ is wrong | mend what the sentence names, trigger again |
| a stage, exit 65 | the data broke a contract; nothing new is visible, the memo says so | see `ops.quarantine`, mend \
the data, clear the task |
| a stage, exit 66 | a newer run of this experiment took over | nothing |
| a stage, anything else | a fault, already retried | mend it, clear the task |
| `quality_gate`, `srm_gate` | the result is not trusted | read the memo, find the cause in logging or assignment |
| `guardrail_gate` | a guardrail failed: decision `stop` | tell the owner of the experiment |
| `write_memo` beside a stage | it waits for that stage | clear both, the memo follows the mend |
| only `watcher` | one of the above | see there |
"""

from __future__ import annotations

from airflow.sdk import DAG

from exp_platform.airflow import tasks
from exp_platform.airflow.callbacks import alert_crash
from exp_platform.airflow.dag_parts import DEFAULT_ARGS, stage_groups, stage_tasks
from exp_platform.airflow.params import analysis_params
from exp_platform.airflow.timetable import OnRequest
from exp_platform.paths import clone_root

with DAG(
    dag_id="experiment_analysis",
    description="One experiment, one day: raw events to decision and memo",
    doc_md=__doc__,
    schedule=OnRequest(),
    catchup=False,
    params=analysis_params(clone_root()),
    default_args=DEFAULT_ARGS,
    tags=["experiments", "tier:1", "spark"],
    on_failure_callback=alert_crash,
) as dag:
    start = tasks.resolve_run()
    groups = stage_groups()
    stages = stage_tasks(groups)
    with groups["gates"]:
        quality_gate, srm_gate, guardrail_gate = tasks.quality_gate(), tasks.srm_gate(), tasks.guardrail_gate()
        passed = tasks.experiment_passed()
    alert, watcher = tasks.alert(), tasks.watcher()

    start >> stages["sync_registry"]
    stages["validate_exposures"] >> quality_gate
    stages["validate_statistics"] >> srm_gate
    stages["check_guardrails"] >> guardrail_gate
    [quality_gate, srm_gate, guardrail_gate] >> passed
    [passed, stages["write_memo"]] >> alert
    [passed, stages["write_memo"], alert] >> watcher
