"""A mapping that does not fit: the dataset, the key, the file, the value, and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.spark.ingest.test_worked_examples import with_sources

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Stream
from exp_platform.errors import ConfigError
from exp_platform.ingest.dataset import read_all
from exp_platform.ingest.dataset_sources import list_source, sources_of
from exp_platform.ingest.diagnose import failing_expression
from exp_platform.ingest.intake import intake_of_stream, intakes_of_experiment
from exp_platform.ingest.last_day import last_event_day, last_mapped_day
from exp_platform.ingest.preview import Preview, preview

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
COLUMNS = {"user_id": "u", "value": "v", "outcome_ts": "at"}
CONSTANTS = {"metric_name": "m"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files; only the second one has values that expressions may fail on."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.csv").write_text("u,v,at,ms\nu1,1,2026-02-03T10:00:00Z,1770112800000\n")
    (tmp_path / "own" / "b.csv").write_text("u,v,at,ms\nu2,x,2026-13-03T10:00:00Z,soon\n")
    return tmp_path / "own"


def source(folder: Path, **changes: Any) -> dict[str, Any]:
    base = {"format": "csv", "location": str(folder), "columns": COLUMNS, "constants": CONSTANTS}
    return {"outcomes": base | changes}


def previewed(spark: SparkSession, project: Project, experiment: Experiment) -> Preview:
    """The preview of the experiment's mapped outcomes."""
    (intake,) = [one for one in intakes_of_experiment(project, experiment) if one.dataset == "outcomes"]
    (part,) = intake.source.parts
    return preview(spark, project, intake, part, rows=5)


def of_stream(project: Project, folder: Path, kind: str = "outcomes", **changes: Any) -> Project:
    """The project with a stream over the folder."""
    content = {"name": "orders", "kind": kind, "owner": "data", "source": source(folder, **changes)["outcomes"]}
    return replace(project, streams={"orders": Stream.model_validate(content)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": COLUMNS | {"value": "cast(v AS double)"}}, ["columns.value (cast(v AS double))", "'x'"]),
        ({"columns": COLUMNS | {"outcome_ts": "to_timestamp(at)"}}, ["columns.outcome_ts", "2026-13-03"]),
        ({"columns": COLUMNS | {"outcome_ts": "make_timestamp(2026, 13, v, 0, 0, 0)"}}, ["columns.outcome_ts", "13"]),
        ({"where": "bigint(ms) > 0"}, ["where (bigint(ms) > 0)", "'soon'"]),
        (
            {
                "columns": {"user_id": "u", "outcome_ts": "at"},
                "constants": {},
                "metrics": [{"name": "m", "value": "bigint(v)"}],
            },
            ["metrics.0.value (bigint(v))", "'x'"],
        ),
    ],
)
def test_an_expression_that_fails_is_named_with_file_and_value(
    spark: SparkSession, project: Project, folder: Path, changes: dict[str, Any], said: list[str]
) -> None:
    experiment = with_sources(project, source(folder, **changes))
    (part,) = sources_of(project, experiment, "outcomes").parts
    files = list_source(project, part, lambda: spark)
    problem = failing_expression(spark, project, [(part, {file.path for file in files})], files)
    assert problem is not None
    assert problem.sentence.startswith(f"outcomes: {folder}/") and "use try_cast" in problem.sentence
    assert all(words in problem.sentence for words in said), problem.sentence
    if "13, v" not in str(changes):  # a month 13 fails on every row
        assert "b.csv" in problem.sentence
    assert len(problem.sentence) < 600


def test_a_sound_mapping_has_no_failing_expression(spark: SparkSession, project: Project, folder: Path) -> None:
    (part,) = sources_of(project, with_sources(project, source(folder)), "outcomes").parts
    files = list_source(project, part, lambda: spark)
    assert failing_expression(spark, project, [(part, {file.path for file in files})], files) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"columns": COLUMNS | {"value": "v *"}}, r"value: 'v \*' is neither a column nor Spark SQL: \w+"),
        ({"timestamp_format": "dd.MM.jjjj"}, r"timestamp_format: found 'dd.MM.jjjj': \w+.*expected a pattern such as"),
        ({"location": "nfs://host/there"}, r"sources.outcomes.location: found 'nfs://host/there'"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_sentence(
    spark: SparkSession, project: Project, folder: Path, changes: dict[str, Any], sentence: str
) -> None:
    sources = sources_of(project, with_sources(project, source(folder, **changes)), "outcomes")
    with pytest.raises(ConfigError, match=sentence):
        read_all(spark, project, sources.parts)


def test_counts_without_a_format_are_refused_with_the_key_that_helps(
    spark: SparkSession, project: Project, folder: Path
) -> None:
    columns = COLUMNS | {"outcome_ts": "try_cast(ms AS bigint)"}
    result = read_all(
        spark, project, sources_of(project, with_sources(project, source(folder, columns=columns)), "outcomes").parts
    )
    assert result.frame is None
    assert "column 'outcome_ts' is bigint" in result.problems[0].what
    assert "timestamp_format: epoch_millis" in result.problems[0].what


def test_the_last_event_day_is_that_of_the_events_and_not_of_the_future(
    spark: SparkSession, project: Project, folder: Path
) -> None:
    (folder / "c.csv").write_text("u,v,at,ms\nu3,1,2026-02-05T23:59:59Z,0\nu4,1,2999-01-01T00:00:00Z,0\n")
    experiment = with_sources(project, source(folder))
    assert last_event_day(spark, project, experiment, datetime(2026, 6, 1, tzinfo=UTC)) == date(2026, 2, 5)
    assert last_event_day(spark, project, experiment, datetime(2026, 2, 5, tzinfo=UTC)) == date(2026, 2, 3)
    assert last_event_day(spark, project, experiment, datetime(2020, 1, 1, tzinfo=UTC)) is None
    failing = with_sources(project, source(folder, columns=COLUMNS | {"value": "cast(v AS double)"}))
    assert last_event_day(spark, project, failing, datetime(2026, 6, 1, tzinfo=UTC)) in (None, date(2026, 2, 5))


def test_a_preview_shows_rows_beside_events_and_what_would_be_refused(
    spark: SparkSession, project: Project, folder: Path
) -> None:
    experiment = with_sources(project, source(folder))
    found = previewed(spark, project, experiment)
    (good,), (bad,) = found.events, found.refused_events
    assert '"u":"u1"' in good.source_row and good.event["user_id"] == "u1" and good.event["value"] == "1.0"
    assert '"v":"x"' in bad.source_row and bad.event["value"] == "x"
    assert set(bad.broken) == {"unparseable_value", "unparseable_outcome_ts"}
    assert (found.rows, found.refused) == (2, {"unparseable_value": 1, "unparseable_outcome_ts": 1})
    wrong = with_sources(project, source(folder, columns=COLUMNS | {"value": "cast(v AS double)"}))
    (problem,) = previewed(spark, project, wrong).problems
    assert "columns.value" in problem.sentence and "b.csv" in problem.sentence


def test_a_preview_of_a_stream_asks_for_no_experiment_id(spark: SparkSession, project: Project, folder: Path) -> None:
    streamed = of_stream(project, folder)
    intake = intake_of_stream(streamed, streamed.stream("orders"))
    found = preview(spark, streamed, intake, intake.source.parts[0], rows=5)
    (good,), (bad,) = found.events, found.refused_events
    assert good.event["user_id"] == "u1" and "experiment_id" not in good.event
    assert set(bad.broken) == {"unparseable_value", "unparseable_outcome_ts"}


def test_the_last_event_day_is_also_that_of_streams_and_in_a_log_that_of_the_experiments_own_events(
    spark: SparkSession, project: Project, folder: Path
) -> None:
    before = datetime(2026, 6, 1, tzinfo=UTC)
    streamed = of_stream(project, folder)
    (name, one), *_ = streamed.experiments.items()
    reading = one.model_copy(update={"streams": {"outcomes": ("orders",)}, "sources": {}})
    assert last_mapped_day(streamed, reading, before) == date(2026, 2, 3)
    (folder / "b.csv").unlink()
    (folder / "a.csv").write_text(f"e,u,at\n{name},u1,2026-02-03T10:00:00Z\nother_one,u2,2026-02-09T10:00:00Z\n")
    columns = {"experiment_id": "e", "user_id": "u", "exposure_ts": "at"}
    log = of_stream(project, folder, "exposures", columns=columns, constants={"variant": "control", "unit": "user"})
    reading = one.model_copy(update={"streams": {"exposures": ("orders",)}, "sources": {}})
    assert last_mapped_day(log, reading, before) == date(2026, 2, 3)
