"""Streams in the configuration: one sentence for each mistake, and no change for who reads none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exp_platform.config.load import Project, load_project
from exp_platform.config.streams import unread
from exp_platform.errors import ConfigError

ID = "exp_checkout_button_001"
WriteYaml = Callable[[Path, object], Path]


def stream(name: str, kind: str = "outcomes", **changes: Any) -> dict[str, Any]:
    source = {"format": "parquet", "location": f"data/streams/{name}"}
    return {"name": name, "kind": kind, "owner": "data", "source": source} | changes


@pytest.fixture
def configure(project: Project, write_yaml: WriteYaml) -> Callable[..., Project]:
    """Write streams and what the experiment reads, and load the project again."""

    def load(streams: list[dict[str, Any]], read: dict[str, list[str]] | None = None, **experiment: Any) -> Project:
        for content in streams:
            write_yaml(project.root / "configs" / "streams" / f"{content['name']}.yaml", content)
        path = project.root / "configs" / "experiments" / f"{ID}.yaml"
        content = yaml.safe_load(path.read_text()) | experiment
        write_yaml(path, content | ({"streams": read} if read is not None else {}))
        return load_project(project.path)

    return load


@pytest.fixture
def everything(project: Project) -> list[str]:
    """Every source that a metric of the experiment reads."""
    metrics = project.metrics_of(project.experiment(ID))
    named = [*metrics, *(covariate for metric in metrics for covariate in metric.covariate_metrics)]
    return sorted({source for metric in named for source in metric.sources})


def refusal(project: Project) -> str:
    assert ID in project.broken, "the experiment is not refused"
    return project.broken[ID]


def test_an_experiment_reads_a_stream_that_delivers_its_sources(
    configure: Callable[..., Project], everything: list[str]
) -> None:
    loaded = configure([stream("shop_events", delivers=everything)], {"outcomes": ["shop_events"]})
    assert loaded.refusals() == []
    assert loaded.experiment(ID).streams == {"outcomes": ("shop_events",)}
    assert loaded.stream("shop_events").owner_id == "stream.shop_events"


def test_who_reads_no_stream_keeps_the_hash_of_its_configuration(
    project: Project, configure: Callable[..., Project], everything: list[str]
) -> None:
    before = project.config_hash(project.experiment(ID))
    beside = configure([stream("shop_events", delivers=everything)])
    assert beside.config_hash(beside.experiment(ID)) == before
    reading = configure([], {"outcomes": ["shop_events"]})
    now = reading.config_hash(reading.experiment(ID))
    assert now != before
    other = configure([stream("shop_events", delivers=everything, description="words", owner="somebody")])
    assert other.config_hash(other.experiment(ID)) == now, "words for people change no number"
    mapped = configure([stream("shop_events", delivers=[*everything, "more"])])
    assert mapped.config_hash(mapped.experiment(ID)) != now


def test_an_unknown_stream_is_named_with_the_nearest_known_one(
    configure: Callable[..., Project], everything: list[str]
) -> None:
    loaded = configure([stream("shop_events", delivers=everything)], {"outcomes": ["shop_event"]})
    assert "streams.outcomes: stream 'shop_event' not found; did you mean 'shop_events'?" in refusal(loaded)


def test_a_source_that_no_stream_delivers_is_named_with_its_metric(
    configure: Callable[..., Project], everything: list[str]
) -> None:
    loaded = configure([stream("shop_events", delivers=everything[1:])], {"outcomes": ["shop_events"]})
    assert f"needs '{everything[0]}', which no stream delivers (shop_events delivers" in refusal(loaded)


def test_metrics_that_lack_the_same_source_share_one_sentence(
    configure: Callable[..., Project], everything: list[str]
) -> None:
    loaded = configure([stream("shop_events", delivers=[name for name in everything if name != "sessions"])])
    loaded = configure([], {"outcomes": ["shop_events"]})
    (sentence,) = [line for line in refusal(loaded).splitlines() if "'sessions'" in line]
    assert "metric 'revenue_per_session' and metric 'retention_week_2' need 'sessions', which no stream" in sentence


def test_two_streams_must_not_deliver_one_source(configure: Callable[..., Project], everything: list[str]) -> None:
    two = [stream("shop_events", delivers=everything), stream("web_events", delivers=everything[:1])]
    loaded = configure(two, {"outcomes": ["shop_events", "web_events"]})
    sentence = f"'shop_events' and 'web_events' both deliver '{everything[0]}', whose events would count twice"
    assert sentence in refusal(loaded)
    shared = configure(
        [stream("shop_events", delivers=everything[1:]), two[1]], {"outcomes": ["shop_events", "web_events"]}
    )
    assert shared.refusals() == []


@pytest.mark.parametrize(
    ("streams", "read", "sentence"),
    [
        ([stream("assigned", "assignments")], {"outcomes": ["assigned"]}, "'assigned' is a stream of assignments"),
        ([], {"outcomes": []}, "names no stream"),
        (
            [stream("log_a", "assignments"), stream("log_b", "assignments")],
            {"assignments": ["log_a", "log_b"]},
            "found 2 streams; name one",
        ),
        ([stream("log_a", "assignments", delivers=["x"])], {"assignments": ["log_a"]}, "'log_a' is refused"),
    ],
)
def test_what_does_not_fit_is_refused(
    configure: Callable[..., Project], streams: list[dict[str, Any]], read: dict[str, list[str]], sentence: str
) -> None:
    assert sentence in refusal(configure(streams, read))


def test_a_dataset_has_one_origin(configure: Callable[..., Project], everything: list[str]) -> None:
    source = {"outcomes": {"format": "csv", "location": "data/own"}}
    loaded = configure([stream("shop_events", delivers=everything)], {"outcomes": ["shop_events"]}, sources=source)
    assert "sources.outcomes says where the events are as well; keep one of the two" in refusal(loaded)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (stream("shop_events"), "delivers: name the values of metric_name that the stream holds"),
        (stream("shop_events", delivers=["a", "a"]), "delivers: 'a' is there twice"),
        (stream("shop_events", "exposures", delivers=["a"]), "delivers: a stream of exposures has none"),
        (stream("shop_events", delivers=["a"], ownr="x"), "ownr: unknown key; did you mean 'owner'?"),
    ],
)
def test_a_broken_stream_is_refused_and_stops_only_its_readers(
    configure: Callable[..., Project], content: dict[str, Any], sentence: str
) -> None:
    loaded = configure([content])
    assert sentence in "\n".join(loaded.refusals())
    assert ID in loaded.experiments
    with pytest.raises(ConfigError, match="shop_events"):
        loaded.stream("shop_events")


def test_a_constant_name_is_what_a_stream_delivers(configure: Callable[..., Project]) -> None:
    source = {"format": "parquet", "location": "x", "constants": {"metric_name": "purchase"}}
    loaded = configure([stream("purchases", source=source)])
    assert loaded.stream("purchases").delivered == ("purchase",)


def test_a_stream_that_nobody_reads_is_told(configure: Callable[..., Project], everything: list[str]) -> None:
    loaded = configure([stream("shop_events", delivers=everything)])
    assert unread(loaded.streams, loaded.experiments) == [
        "stream 'shop_events' is read by no experiment: name it under `streams` of one, or delete its file"
    ]
    reading = configure([], {"outcomes": ["shop_events"]})
    assert unread(reading.streams, reading.experiments) == []
