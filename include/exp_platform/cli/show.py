"""`exp show`: the results of one experiment, by the interval in force, with the numbers of its memo."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import typer

from exp_platform.cli import CONFIG, app, console, for_people
from exp_platform.cli.look import Row, latest_dt_rows, print_grid, print_json, read_rows
from exp_platform.cli.scorecard import COLUMNS, ResultLine, scorecard
from exp_platform.config.load import Project, load_project
from exp_platform.config.models import Metric
from exp_platform.errors import ConfigError
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, DECISION, GUARDRAIL_STATUS
from exp_platform.ledger.seals import seal_rows
from exp_platform.memo import wording as words
from exp_platform.memo.effect_words import figures, levels, relative_figures
from exp_platform.memo.figures import p_text
from exp_platform.memo.result_facts import result_numbers
from exp_platform.pipelines.dates import cutoff, parse_dt
from exp_platform.pipelines.sealed_plan import bound
from exp_platform.results.plan import AnalysisPlan, Interval
from exp_platform.results.seal import Seal


@app.command()
@for_people
def show(
    experiment_id: str,
    dt: str | None = None,
    all_methods: bool = False,
    markdown: bool = typer.Option(False, help="A scorecard of at most 60 lines for a pull request or a thread."),
    as_json: bool = typer.Option(False, "--json", help="The published rows, for programs."),
    config: str | None = CONFIG,
) -> None:
    """Show the results of one experiment by the interval in force: each metric by the deciding or by all methods."""
    project = load_project(config)
    rows = results_of(project, experiment_id, parse_dt(dt) if dt else None)
    day = rows[0]["dt"]
    decisions = [row for row in read_rows(project, DECISION, experiment_id) if row["dt"] == day]
    interval, planned_end = _in_force(project, experiment_id, day, decisions)
    experiment = project.experiment(experiment_id)
    metrics = {m.name: m for m in project.metrics_of(experiment)}
    chosen = [row for row in rows if all_methods or row["is_deciding"]]
    named = words.interval_in_force(interval, cutoff(day) >= planned_end)
    if as_json:
        content = {"experiment_id": experiment_id, "dt": day, "interval_in_force": interval, "planned_end": planned_end}
        print_json(content | {"decisions": decisions, "results": chosen})
        return
    lines = result_lines(chosen, metrics, interval)
    if markdown:
        guardrails = [row for row in read_rows(project, GUARDRAIL_STATUS, experiment_id) if row["dt"] == day]
        print(
            scorecard(
                experiment, day, f"{named}; planned end {words.moment(planned_end)}", decisions, lines, guardrails
            )
        )
        return
    console.print(f"{experiment_id} as of {day} (* decides)", markup=False)
    console.print(f"interval in force: {named}; planned end {words.moment(planned_end)}", markup=False)
    print_grid((*COLUMNS, "status"), [[*line.cells, line.status] for line in lines], title=3)
    for row in decisions:
        console.print(f"{row['variant_id']}: {row['decision']} ({row['trust']})", markup=False)
        for reason in row["reasons"]:
            console.print(f"  - {reason}", markup=False)


def _in_force(project: Project, experiment_id: str, day: date, decisions: list[Row]) -> tuple[Interval, datetime]:
    """The interval in force and the planned end as they were decided by; before a decision, as the plan has them."""
    if decisions:
        return decisions[0]["interval_in_force"], decisions[0]["planned_end"]
    experiment = project.experiment(experiment_id)
    plan = AnalysisPlan(experiment, project.metrics_of(experiment), day, cutoff(day))
    plan = bound(plan, tuple(map(Seal.of, seal_rows(project, experiment_id))))
    return plan.interval_in_force, plan.planned_end


def results_of(project: Project, experiment_id: str, day: date | None) -> list[Row]:
    """The rows of the whole cohort as of a day, else of the latest; without any an error that names the days."""
    project.experiment(experiment_id)
    rows = [row for row in read_rows(project, ANALYSIS_RESULTS, experiment_id) if row["segment"] == "all"]
    there = sorted({str(row["dt"]) for row in rows})
    rows = [row for row in rows if row["dt"] == day] if day else latest_dt_rows(rows)
    if not rows:
        again = f" --dt {day}` (there are results as of {', '.join(there[-5:]) or 'no day'})" if day else "`"
        raise ConfigError(
            f"{experiment_id} has no results{f' as of {day}' if day else ''} yet: `exp run {experiment_id}{again}"
        )
    return rows


def result_lines(rows: list[Row], metrics: Mapping[str, Metric], interval: Interval) -> list[ResultLine]:
    """One line a result; a metric that the configuration no longer names is left out, as its unit is not known."""
    order = {name: i for i, name in enumerate(metrics)}
    known = [row for row in rows if row["metric_name"] in metrics]
    return [
        ResultLine(_cells(row, metrics[row["metric_name"]], interval), row["status"] + " *" * row["is_deciding"])
        for row in sorted(known, key=lambda r: (order[r["metric_name"]], r["variant_id"], r["method"]))
    ]


def _cells(row: Row, metric: Metric, interval: Interval) -> tuple[str, ...]:
    """The cells of one result under COLUMNS."""
    shown = result_numbers(row, metric, interval)
    return (
        row["metric_name"],
        row["variant_id"],
        row["method"],
        *levels(shown),
        figures(shown),
        relative_figures(shown),
        p_text(shown["p_value"]),
        p_text(shown["p_value_adjusted"]),
    )
