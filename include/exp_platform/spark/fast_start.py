"""A class-data-sharing archive: the JVM of every stage starts in about two thirds of the time.

Made once at set-up by one small Spark application that touches what every stage touches, then mapped by each start.
It is only a matter of speed: without it everything works.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from exp_platform.config.load import load_project
from exp_platform.paths import clone_root
from exp_platform.spark.java import find_java_home
from exp_platform.spark.session import CLASS_ARCHIVE, launch_conf

_FAULT = re.compile(r"(?i)error|exception|no such|cannot|denied|not found")
_APPLICATION = """
import sys
from pathlib import Path
from exp_platform.config.load import load_project
from exp_platform.spark.session import build_spark_session
from pyspark.sql import Window, functions as F

spark = build_spark_session("fast start", load_project(sys.argv[1]))
spark.sql("CREATE NAMESPACE IF NOT EXISTS iceberg.warm")
spark.range(1000).withColumn("k", F.col("id") % 7).writeTo("iceberg.warm.up").createOrReplace()
frame = spark.table("iceberg.warm.up")
joined = frame.groupBy("k").agg(F.sum("id").alias("s"), F.count_distinct("id")).join(frame, "k")
joined.writeTo("iceberg.warm.up2").createOrReplace()
frame.writeTo("iceberg.warm.up").overwrite(F.col("k") < 7)
spark.table("iceberg.warm.up2").toArrow()
raw = str(Path(sys.argv[1]).parent / "raw")
day = F.timestamp_seconds(F.col("id") * 3600)
frame.withColumns({"at": day, "word": F.col("k").cast("string")}).write.partitionBy("k").parquet(raw)
found = spark.read.parquet(raw).withColumn("date", F.to_date("at"))
first = found.withColumn("n", F.row_number().over(Window.partitionBy("word").orderBy("at", "id"))).where("n = 1")
found.join(F.broadcast(first.select("word")), "word").groupBy("date").agg(F.count_if(F.col("id") > 3)).collect()
found.select("id", "word").mapInArrow(lambda batches: batches, "id bigint, word string").collect()
spark.stop()
"""


def archive_stamp() -> str:
    """The archive fits one Java and one set of jars, and holds what one application has loaded."""
    jars = sorted(p.name for p in (clone_root() / ".jars").glob("*.jar"))
    return "\n".join([find_java_home(), f"application {zlib.crc32(_APPLICATION.encode())}", *jars])


def fits() -> bool:
    """True when the archive is there and was made for this Java and these jars, by this application."""
    archive = clone_root() / CLASS_ARCHIVE
    stamp = archive.with_suffix(".stamp")
    return archive.exists() and stamp.exists() and stamp.read_text() == archive_stamp()


def build_archive() -> str:
    """Make the archive anew; returns the reason where there is none afterwards, else an empty text."""
    archive = clone_root() / CLASS_ARCHIVE
    archive.unlink(missing_ok=True)
    archive.parent.mkdir(exist_ok=True)
    import pyspark

    project = load_project(clone_root() / "configs" / "dev.yaml")
    conf = launch_conf(project)
    conf["spark.driver.extraJavaOptions"] += f" -XX:ArchiveClassesAtExit={archive}"
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        config = _scratch_config(Path(folder))
        application = Path(folder) / "application.py"
        application.write_text(_APPLICATION)
        command = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", "local[2]"]
        for key, value in conf.items():
            command += ["--conf", f"{key}={value}"]
        environment = os.environ | {"JAVA_HOME": find_java_home(), "PYSPARK_PYTHON": sys.executable}
        done = subprocess.run(
            [*command, str(application), str(config)], env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode != 0 or not archive.exists():
        archive.unlink(missing_ok=True)  # that of an application which failed lacks what it did not come to
        return f"exit code {done.returncode}: {_reason(done.stderr)}"
    archive.with_suffix(".stamp").write_text(archive_stamp())
    return ""


def _reason(said: str) -> str:
    """The first line that names a fault, else the last one: shell scripts and stack traces go on below it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if _FAULT.search(line)), lines[-1])


def _scratch_config(folder: Path) -> Path:
    config = folder / "configs" / "scratch.yaml"
    config.parent.mkdir()
    config.write_text(
        "profile: scratch\nraw_root: raw\ncatalog: {type: sqlite, uri: catalog.db, warehouse: warehouse}\n"
    )
    return config


if __name__ == "__main__":
    if not fits():
        print("setup 3/3: writing the class archive, with which each Spark start is some seconds shorter", flush=True)
        reason = build_archive()
        if reason:
            print(f"setup: no class archive was written ({reason}); everything works without it")
