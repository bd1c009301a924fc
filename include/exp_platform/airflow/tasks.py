"""The tasks of `experiment_analysis` that are not Spark applications."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from exp_platform.airflow.failures import refused
from exp_platform.airflow.jobs import FAILURE_KEY
from exp_platform.airflow.run_task import HICCUPS, run_task
from exp_platform.errors import wrapped
from exp_platform.lake.tables.names import DECISION, EXPOSURE_QUALITY_DAILY, GUARDRAIL_STATUS, STATISTICAL_VALIDATION

if TYPE_CHECKING:
    from exp_platform.airflow.gate_verdicts import Row

PASSED = AssetAlias("experiment_passed")


@task(**HICCUPS)
def resolve_run() -> dict[str, Any]:
    """Decide once on the run's experiment, dt and options; every other task reads them from XCom."""
    from exp_platform.airflow.resolve import resolve
    from exp_platform.errors import ExpError, cause_first

    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        run = resolve(dict(context["params"]), dict(dag_run.conf or {}), dag_run.run_id).to_xcom()
    except ExpError as error:
        failure = {"stage": "resolve_run", "exit_code": error.exit_code, "sentence": cause_first(str(error))}
        context["ti"].xcom_push(FAILURE_KEY, failure)
        raise refused(error) from None
    print(", ".join(f"{key}={value}" for key, value in run.items() if value not in (None, "")))
    return run


def _run() -> dict[str, Any]:
    run: dict[str, Any] | None = get_current_context()["ti"].xcom_pull(task_ids="resolve_run")
    if not run:
        raise AirflowSkipException("the run could not be resolved")
    return run


def _judge(verdict: Callable[[Sequence[Row]], str | None], table: str) -> None:
    """Fail the gate with the verdict's sentence, or print the number of checked rows."""
    from exp_platform.airflow.lake_reads import verdict_rows

    run = _run()
    rows = verdict_rows(run, table)
    sentence = verdict(rows)
    if sentence:
        ti = get_current_context()["ti"]
        since = _since(run, ti.task_id)
        sentence += f"; {since}" if since else ""
        ti.xcom_push(FAILURE_KEY, {"stage": ti.task_id, "exit_code": 0, "sentence": sentence, "since": since})
        _say(sentence, run)
        raise AirflowFailException(wrapped(sentence))
    print(f"{table}: {len(rows)} rows, none fails this gate")


def _since(run: dict[str, Any], gate: str) -> str:
    """The words on how long the gate has been failing; empty on the first morning, or when the past can't be read."""
    from exp_platform.airflow.lake_reads import project_of
    from exp_platform.airflow.outcomes import GATES
    from exp_platform.alerts.history import history_of

    try:
        history = history_of(project_of(run), run["experiment_id"])
    except Exception as error:  # the verdict stands without its past
        print(f"since when cannot be told: {type(error).__name__}: {error}")
        return ""
    streak = history.streak(GATES[gate], date.fromisoformat(run["dt"]))
    return "" if streak.is_new else streak.words


def _say(sentence: str, run: dict[str, Any]) -> None:
    """Print the sentence in short lines with a link to the memo, above the traceback that Airflow shows."""
    from exp_platform.airflow.alerting import links_of
    from exp_platform.airflow.lake_reads import project_of

    print(sentence.replace("; ", ";\n"))
    base_url = project_of(run).profile.ui_base_url
    print(f"next: {links_of(get_current_context(), run['experiment_id'], '', '', base_url, run['dt'])['memo']}")


@run_task()
def quality_gate() -> None:
    """Fail when a failed check of J2 costs the result its trust."""
    from exp_platform.airflow.gate_verdicts import quality_verdict
    from exp_platform.airflow.lake_reads import project_of
    from exp_platform.decision.acknowledged import counted

    run = _run()
    experiment = project_of(run).experiment(run["experiment_id"])

    def verdict(rows: Sequence[Row]) -> str | None:
        return quality_verdict(counted(rows, experiment.acknowledge), experiment.analysis_mode)

    _judge(verdict, EXPOSURE_QUALITY_DAILY)


@run_task()
def srm_gate() -> None:
    """Fail when the arms do not have the sizes that the registry promises."""
    from exp_platform.airflow.gate_verdicts import srm_verdict

    _judge(srm_verdict, STATISTICAL_VALIDATION)


@run_task()
def guardrail_gate() -> None:
    """Fail when a guardrail failed."""
    from exp_platform.airflow.gate_verdicts import guardrail_verdict

    _judge(guardrail_verdict, GUARDRAIL_STATUS)


@run_task(outlets=[PASSED])
def experiment_passed() -> None:
    """Update the asset `experiment_passed/<id>`; skipped when the result is not fully trusted."""
    from exp_platform.airflow.gate_verdicts import withheld
    from exp_platform.airflow.lake_reads import verdict_rows

    run = _run()
    decisions = verdict_rows(run, DECISION)
    decision = next((row for row in decisions if row["variant_id"] == "all"), None)
    reason = withheld(decision, verdict_rows(run, GUARDRAIL_STATUS))
    if reason or decision is None:
        raise AirflowSkipException(f"not passed: {reason}")
    asset = Asset(f"experiment_passed/{run['experiment_id']}")
    extra = {"dt": run["dt"], "run_id": run["run_id"], "decision": decision["decision"]}
    get_current_context()["outlet_events"][PASSED].add(asset, extra=extra)
    print(f"{asset.name}: {decision['decision']}, dt {run['dt']}")


@run_task(trigger_rule=TriggerRule.ALL_DONE)
def alert() -> None:
    """Alert once on each failed gate, broken contract or crash; an outage of Slack never fails the run."""
    from exp_platform.airflow.alerting import alert_run

    alert_run(get_current_context())


@task(**HICCUPS, trigger_rule=TriggerRule.ONE_FAILED)
def watcher() -> None:
    """Fail when any task before it failed: `alert` always runs and would hide a failure from the run's state."""
    raise AirflowFailException("a task of this run failed: see the red ones")
