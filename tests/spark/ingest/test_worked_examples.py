"""The worked examples of docs/your-own-events.md: each mapping makes the events that the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.conftest import ROOT

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment
from exp_platform.ingest.dataset import read_all
from exp_platform.ingest.dataset_sources import sources_of
from exp_platform.schemas import DATASETS, contract_columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
PAGE = (ROOT / "docs" / "your-own-events.md").read_text()


@dataclass(frozen=True)
class Example:
    title: str
    files: dict[str, str]  # path -> content
    sources: dict[str, Any]
    tables: list[list[dict[str, str]]]


def examples() -> Iterator[Example]:
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        lines = re.search(r"^```text\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        mapping = re.search(r"^```yaml\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        if lines and mapping:
            parts = re.split(r"^# (\S+)\n", lines[1], flags=re.MULTILINE)[1:]
            files = dict(zip(parts[::2], parts[1::2], strict=True))
            yield Example(section.splitlines()[0], files, yaml.safe_load(mapping[1])["sources"], list(tables(section)))


def tables(section: str) -> Iterator[list[dict[str, str]]]:
    for block in re.findall(r"(?:^\|.*\|\n)+", section, flags=re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines())
        yield [dict(zip(head, row, strict=True)) for row in rows]


EXAMPLES = list(examples())


def placed(sources: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The mapping, with the folder of the test in place of the bucket."""
    moved = {}
    for dataset, source in sources.items():
        parts = source if isinstance(source, list) else [source]
        found = [part | {"location": str(folder / part["location"].rsplit("/", 1)[1])} for part in parts]
        moved[dataset] = found if isinstance(source, list) else found[0]
    return moved


def with_sources(project: Project, sources: dict[str, Any], **keys: Any) -> Experiment:
    base = project.experiments["exp_checkout_button_001"].model_dump(mode="json")
    return Experiment.model_validate(base | {"sources": sources} | keys)


def mapped(spark: SparkSession, project: Project, experiment: Experiment, dataset: str) -> list[dict[str, Any]]:
    result = read_all(spark, project, sources_of(project, experiment, dataset).parts)
    assert result.frame is not None, [problem.sentence for problem in result.problems]
    return [row.asDict() for row in result.frame.collect()]


def comparable(column: str, value: Any) -> Any:
    if column == "value":
        return float(value)
    if column.endswith("_ts"):
        return datetime.fromisoformat(value) if isinstance(value, str) else value.replace(tzinfo=None)
    return value


def shown(rows: list[dict[str, Any]], columns: list[str]) -> list[tuple[Any, ...]]:
    return sorted(tuple(comparable(column, row[column]) for column in columns) for row in rows)


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == 7
    assert [len(example.tables) for example in EXAMPLES] == [1, 1, 1, 1, 3, 1, 1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_a_worked_example_gives_the_events_that_the_page_shows(
    spark: SparkSession, project: Project, tmp_path: Path, example: Example
) -> None:
    for name, content in example.files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(content)
    experiment = with_sources(project, placed(example.sources, tmp_path / "own"))
    assert example.tables
    for table in example.tables:
        columns = list(table[0])
        dataset = next(d for d in DATASETS if set(columns) <= {*contract_columns(d, optional=True)})
        rows = mapped(spark, project, experiment, dataset)
        assert shown(rows, columns) == shown(table, columns)
        assert {row["experiment_id"] for row in rows} == {experiment.experiment_id}
        assert not [row for row in rows if any(row[c] is not None for c in row if c.startswith(("_unparsed", "_corr")))]


def test_a_line_that_is_no_row_is_kept_by_where_explode_and_metrics(
    spark: SparkSession, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"u": "u1", "n": [{"v": 1}], "at": "2026-02-03T10:00:00Z"}\n{torn\n')
    source = {"format": "json", "location": str(tmp_path / "a.jsonl"), "columns": {"user_id": "u", "outcome_ts": "at"}}
    shapes: tuple[dict[str, Any], ...] = (
        {"where": "u = 'u1'", "columns": source["columns"] | {"value": "1"}, "constants": {"metric_name": "m"}},
        {"explode": "n", "columns": source["columns"] | {"value": "item.v"}, "constants": {"metric_name": "m"}},
        {"metrics": [{"name": "m"}, {"name": "k", "where": "u = 'u2'"}]},
    )
    for shape in shapes:
        rows = mapped(spark, project, with_sources(project, {"outcomes": source | shape}), "outcomes")
        assert sorted((row["user_id"] or "", row["_corrupt"] or "") for row in rows) == [("", "{torn"), ("u1", "")]


def test_a_value_that_is_no_number_is_kept_for_the_quarantine_in_each_metric(
    spark: SparkSession, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("u,at,a,b\nu1,1770112800000,x,2\nu2,soon,,\n")
    source = {
        "format": "csv",
        "location": str(tmp_path / "a.csv"),
        "timestamp_format": "epoch_millis",
        "columns": {"user_id": "u", "outcome_ts": "at"},
        "metrics": [{"name": "a", "value": "a"}, {"name": "b", "value": "b", "where": "true"}],
    }
    rows = mapped(spark, project, with_sources(project, {"outcomes": source}), "outcomes")
    found = sorted((row["user_id"], row["metric_name"], row["value"], row["_unparsed_value"]) for row in rows)
    assert found[0] == ("u1", "a", None, "x") and found[1] == ("u1", "b", 2.0, None)
    assert found[2] == ("u2", "b", None, None) and len(found) == 3
    assert {row["_unparsed_outcome_ts"] for row in rows} == {None, "soon"}


def test_the_page_needs_no_column_of_one_experiment(project: Project) -> None:
    plain = {"format": "csv", "location": "x", "columns": {"user_id": "u"}}
    (source,) = sources_of(project, with_sources(project, {"outcomes": plain}), "outcomes").parts
    assert source.defaults == {"experiment_id": "exp_checkout_button_001"}
    assert replace(source, defaults={}).rules == source.rules == ["csv", "", {"user_id": "u"}, {}]
