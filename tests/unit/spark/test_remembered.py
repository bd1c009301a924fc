"""A function of Spark is looked up in the JVM once, and called as often as it is used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from py4j.protocol import Py4JError

from exp_platform.spark.remembered import remember_functions


class Client:
    """A gateway to a JVM whose classes have one function, `col`."""

    converters = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gateway_property = SimpleNamespace(pool=None)

    def send_command(self, command: str) -> str:
        self.asked.append(command)
        known = "\ncol\n" in command
        return "ym" if known else "xsno such function"


@pytest.fixture
def jvm() -> Any:
    view = SimpleNamespace(_gateway_client=Client())
    remember_functions(SimpleNamespace(sparkContext=SimpleNamespace(_jvm=view)))  # type: ignore[arg-type]
    return view


def test_each_function_is_asked_for_once(jvm: Any) -> None:
    spellings = (jvm.functions, getattr(jvm, "org.apache.spark.sql.functions"), jvm.PythonUtils)
    assert not jvm._gateway_client.asked, "classes are known by name"
    for _ in range(3):
        assert [found.col.name for found in spellings] == ["col"] * 3
    assert len(jvm._gateway_client.asked) == len(spellings)


def test_a_function_that_is_not_there_is_not_remembered(jvm: Any) -> None:
    for _ in range(2):
        with pytest.raises(Py4JError, match=r"functions\.sum_of_all does not exist in the JVM"):
            _ = jvm.functions.sum_of_all
    assert "sum_of_all" not in vars(jvm.functions)
