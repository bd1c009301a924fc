"""Parts of the DAG files; nothing here imports Spark, Great Expectations, pandas or PyIceberg, to keep parsing fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import TaskGroup, TriggerRule

from exp_platform.airflow.memo import MemoOperator
from exp_platform.airflow.operator import StageOperator
from exp_platform.paths import clone_root
from exp_platform.pipelines.registry import BY_NAME, STAGES, Stage

GROUPS = {
    "sources": "Registry and raw events, behind their contracts",
    "canonical": "One assignment per user",
    "quality": "Do the exposures look right?",
    "metrics": "One row per user, then sums",
    "results": "Effects, checks, guardrails, decision",
    "gates": "Red when the result must not be used",
    "memo": "What a person reads",
}
DEFAULT_ARGS = {"owner": "experimentation-platform"}


def stage_groups() -> dict[str, TaskGroup]:
    """The task groups in the order of reading; task ids carry no prefix of their group."""
    return {name: TaskGroup(name, prefix_group_id=False, tooltip=text) for name, text in GROUPS.items()}


def stage_task(stage: Stage) -> StageOperator:
    """The task of one stage, which runs as one Spark application."""
    common: dict[str, Any] = {
        "task_id": stage.name,
        "doc_md": stage_doc(stage),
        "stage": stage,
        "job_folder": clone_root() / "spark_jobs",
    }
    if stage.group == "memo":
        before = [other.name for other in STAGES if other is not stage]
        return MemoOperator(upstream_stages=before, trigger_rule=TriggerRule.ALL_DONE, **common)
    if stage.optional:
        return StageOperator(**common)
    after_optional = any(BY_NAME[name].optional for name in stage.after)
    return StageOperator(trigger_rule=TriggerRule.NONE_FAILED if after_optional else TriggerRule.ALL_SUCCESS, **common)


def stage_doc(stage: Stage) -> str:
    """The documentation of a stage's task: title, tables, and what to do when it fails."""
    tables = "".join(f"\n- `{table}`" for table in stage.publishes)
    return (
        f"### {stage.title}\n"
        + (f"Publishes{tables}\n\n" if tables else "")
        + "**When it fails:** the line above ERROR in the log is one sentence for you. Exit 64: mend the config. "
        "Exit 65: mend the data; refused rows and failed checks are in `ops.quarantine` and `ops.contract_results`. "
        "Exit 66: a newer run of this experiment took over, nothing to do. Any other fault was retried; clear the task "
        "to try again. "
        f"By hand: `spark-submit spark_jobs/{stage.name}.py --config … --experiment-id=… --dt=…`."
    )


def stage_tasks(groups: Mapping[str, TaskGroup]) -> dict[str, StageOperator]:
    """Every stage of the registry in its group, after the stages that it reads."""
    tasks: dict[str, StageOperator] = {}
    for stage in STAGES:
        with groups[stage.group]:
            tasks[stage.name] = stage_task(stage)
        for upstream in stage.after:
            tasks[upstream] >> tasks[stage.name]
    return tasks
