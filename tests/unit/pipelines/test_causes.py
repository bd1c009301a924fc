"""The sentence for an error that came through Spark names its cause."""

from __future__ import annotations

import pytest

from exp_platform.pipelines.causes import cause_of


def through_spark(name: str, text: str, trace: str = "") -> Exception:
    """An error as pyspark raises it, without a JVM."""
    error = type(name, (Exception,), {"__module__": "pyspark.errors.exceptions.captured"})(text)
    error._stackTrace = trace
    return error


REFUSED = (
    "An error occurred while calling o120.table.\n"
    ": org.apache.iceberg.jdbc.UncheckedSQLException: Failed to connect: jdbc:postgresql://db:5432/iceberg\n"
    "Caused by: org.postgresql.util.PSQLException: Connection to db:5432 refused.\n"
    "Caused by: java.net.ConnectException: Connection refused\n"
)
FULL = (
    "Job aborted due to stage failure: Task 3 in stage 9.0 failed 4 times, most recent failure: Lost task 3.3 in stage "
    "9.0 (TID 31) (10.0.0.7 executor 2): java.io.IOException: No space left on device\n\tat java.base/sun.nio.ch.a\n"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("When reading key 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject"), "refused the key"),
        (OSError("When listing objects: AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2"), "refused the key"),
        (OSError("When reading key 'a': AWS Error NETWORK_CONNECTION: curlCode: 7"), "the object store did not answer"),
        (
            RuntimeError('connection to server at "db", port 5 failed: password authentication failed for user "ann"'),
            "the catalog's database refused the password of ann",
        ),
        (RuntimeError('connection to server at "db", port 5 failed: refused'), "the catalog's database did not answer"),
        (through_spark("Py4JJavaError", REFUSED), "the catalog's database did not answer"),
        (through_spark("SparkException", FULL), "no space is left on a disk of 10.0.0.7 (executor 2)"),
        (OSError(28, "No space left on device"), "no space is left on a disk of this machine"),
    ],
)
def test_a_place_that_is_gone_full_or_refuses_is_named_by_what_it_is_for(error: Exception, said: str) -> None:
    assert said in cause_of(error)


def test_a_java_error_names_its_innermost_cause_and_not_the_call() -> None:
    text = (
        "An error occurred while calling o120.table.\n"
        ": org.apache.hadoop.ipc.RemoteException: Failed to connect to db:5432\n"
        "\tat org.apache.hadoop.ipc.Client.newClient(Client.java:121)\n"
        "Caused by: java.io.IOException: Call failed.\n"
        "\t... 11 more\n"
        "Caused by: java.net.ConnectException: Connection refused\n"
        "\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)\n"
    )
    assert cause_of(through_spark("Py4JJavaError", text)) == "ConnectException: Connection refused"


def test_a_java_error_without_a_cause_names_itself() -> None:
    text = "An error occurred while calling o1.count.\n: java.lang.IllegalStateException: Spark was stopped\n\tat a"
    assert cause_of(through_spark("Py4JJavaError", text)) == "IllegalStateException: Spark was stopped"


def test_an_error_of_a_python_worker_names_what_was_raised_there() -> None:
    text = (
        "\n  An exception was thrown from the Python worker. Please see the stack trace below.\n"
        "Traceback (most recent call last):\n"
        '  File "/spark/python/lib/pyspark.zip/pyspark/worker.py", line 1, in main\n'
        "ModuleNotFoundError: No module named 'mmh3'\n"
    )
    error = through_spark("PythonException", text)
    assert cause_of(error) == "ModuleNotFoundError: No module named 'mmh3'"


def test_a_wrapper_is_named_only_where_there_is_nothing_else() -> None:
    text = "Job aborted.\nCaused by: org.apache.spark.SparkException: Task failed while writing rows\n"
    assert cause_of(through_spark("SparkException", text)) == "SparkException: Task failed while writing rows"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("dt"), "KeyError: 'dt'"),
        (ValueError("SomeError: inside\nmore"), "ValueError: SomeError: inside"),
        (RuntimeError(), "RuntimeError without a message"),
    ],
)
def test_any_other_error_says_its_first_line(error: Exception, said: str) -> None:
    assert cause_of(error) == said


def test_a_java_error_whose_jvm_is_gone_says_what_it_was_made_with() -> None:
    class Gone(Exception):
        def __str__(self) -> str:
            raise ConnectionError("the JVM is gone")

    assert cause_of(Gone("An error occurred while calling o1")) == "Gone: An error occurred while calling o1"
