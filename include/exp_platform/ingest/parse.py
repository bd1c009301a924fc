"""Parse the expressions of mapped sources with Spark's own parser, without a Spark application."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from exp_platform.config.load import Project
from exp_platform.config.models.source import EPOCHS, Source, listed
from exp_platform.ingest.engine_errors import reason_of

_PLAIN = re.compile(r"[\w .$#@:-]+")  # may be a column's name, whatever it would be as an expression


def expression_problems(project: Project) -> list[str]:
    """One sentence for each expression and pattern that Spark cannot parse; Java starts only where there are some."""
    texts = {
        (f"{project.profile.experiments_dir}/{name}.yaml", key): text
        for name, experiment in sorted(project.experiments.items())
        for dataset, sources in experiment.sources.items()
        for i, source in enumerate(listed(sources))
        for key, text in texts_of(source, f"sources.{dataset}" + ("" if isinstance(sources, Source) else f".{i}"))
    }
    return list(_problems(texts)) if texts else []


def texts_of(source: Source, above: str) -> Iterator[tuple[str, str]]:
    """Key -> expression or pattern of a source, without those that may be names."""
    found = {f"columns.{name}": text for name, text in source.columns.items()}
    found |= {name: text for name in ("where", "explode") if (text := getattr(source, name)) is not None}
    for i, metric in enumerate(source.metrics):
        found[f"metrics.{i}.value"] = metric.value
        if metric.where is not None:
            found[f"metrics.{i}.where"] = metric.where
    if source.timestamp_format is not None and source.timestamp_format not in EPOCHS:
        yield f"{above}.timestamp_format", source.timestamp_format
    for key, text in found.items():
        if not _PLAIN.fullmatch(text):
            yield f"{above}.{key}", text


def _problems(texts: Mapping[tuple[str, str], str]) -> Iterator[str]:
    from py4j.protocol import Py4JJavaError

    gateway = _java()
    jvm: Any = gateway.jvm
    try:
        parser = jvm.org.apache.spark.sql.execution.SparkSqlParser()
        for (file, key), text in texts.items():
            try:
                if key.endswith("timestamp_format"):
                    jvm.java.time.format.DateTimeFormatter.ofPattern(text)
                else:
                    parser.parseExpression(text)
            except Py4JJavaError as error:
                said = reason_of(Exception(error.java_exception.getMessage())).rstrip(".")
                yield f"{file}: {key}: {text!r} cannot be parsed: {said}"
    finally:
        gateway.shutdown()


def _java() -> Any:
    from pyspark import SparkConf
    from pyspark.java_gateway import launch_gateway

    from exp_platform.spark.java import find_java_home

    os.environ["JAVA_HOME"] = find_java_home()
    quiet = {"stderr": subprocess.DEVNULL}  # Spark greets; the refusals are what a person wants to read
    return launch_gateway(SparkConf(loadDefaults=False), quiet)  # type: ignore[no-untyped-call]
