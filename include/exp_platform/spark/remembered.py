"""Spark's functions are looked up in the JVM once each, instead of at every use.

`F.col("a")` asks the JVM three times: for the class of all functions, for the function `col`, and to call it. A stage
makes some thousand columns, so that two of three questions were a good part of its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaClass

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CLASSES = {
    "functions": "org.apache.spark.sql.functions",
    "org.apache.spark.sql.functions": "org.apache.spark.sql.functions",
    "PythonUtils": "org.apache.spark.api.python.PythonUtils",
}


class RememberingClass(JavaClass):  # type: ignore[misc]
    """A class of the JVM that asks once for each of its static functions."""

    def __getattr__(self, name: str) -> Any:
        """Called when Python has found no such attribute: from then on the attribute is there."""
        member = super().__getattr__(name)
        self.__dict__[name] = member
        return member


def remember_functions(session: SparkSession) -> None:
    """Let every session of this JVM find the functions of Spark SQL without asking."""
    jvm: Any = session.sparkContext._jvm
    for name, full_name in CLASSES.items():
        vars(jvm)[name] = RememberingClass(full_name, jvm._gateway_client)
