"""The jars that Spark needs beside its own: pinned here, resolved once into the clone's `.jars/`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from exp_platform.errors import ConfigError
from exp_platform.paths import clone_root

# Maven coordinate -> SHA-256 of its jar.
CORE = {
    "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0": (
        "3123c3798af642dd537230923548e013ef41cc28b6626e5225808cf5670a0f82"
    ),
    "org.xerial:sqlite-jdbc:3.50.3.0": "a3f53a2aa15ae9425a9e793bbe9c8e5288febeb4b65ef5c1a4e80d4c2045cf08",
    "org.postgresql:postgresql:42.7.8": "2a32a9dcbc42d67a50ad3a0de5efd102c8d2be46720045f2cbd6689f160ab7c7",
}
# Only the object-store profile needs these. The SDK's classes come from Iceberg's bundle (70 MB): hadoop-aws would
# otherwise pull in a bundle of over 600 MB, of which it uses the S3 client and the two small jars below.
OBJECT_STORE = {
    "org.apache.iceberg:iceberg-aws-bundle:1.12.0": "dd7e49ffa4ac9b215bed846581991259e3aec9bb2fa08d6cec029c46cd66d957",
    "org.apache.hadoop:hadoop-aws:3.4.2": "d2d24e6b715b5656b9d238bf13b6682a07e2004dd36aad74a73aeb854319f4d9",
    "software.amazon.awssdk:s3-transfer-manager:2.54.17": (
        "7bef0ea4efd5e0860bab63e08317040951edb51b72a5be734284c28b8324ab87"
    ),
    "software.amazon.awssdk:apache-client:2.54.17": "0b00ae3d55c3d1213ca47b5651dc4c2a0080fc9b6192dde3d53c3da6c1811bcb",
}
_NOT_NEEDED = ("software.amazon.awssdk:bundle", "software.amazon.awssdk.crt:aws-crt")


def jar_folder() -> Path:
    """Where the jars are."""
    return clone_root() / ".jars"


def jar_name(coordinate: str) -> str:
    """File name of a coordinate's jar."""
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def missing_jars(wanted: dict[str, str]) -> list[str]:
    """Coordinates whose jar is not in the clone yet."""
    return [coordinate for coordinate in wanted if not (jar_folder() / jar_name(coordinate)).exists()]


def require_jars(wanted: dict[str, str], command: str) -> None:
    """One sentence when a jar is missing."""
    missing = missing_jars(wanted)
    if missing:
        raise ConfigError(f"jars are missing in .jars/ ({', '.join(map(jar_name, missing))}): run `{command}`")


def resolve_jars(wanted: dict[str, str]) -> list[Path]:
    """Resolve what is missing with Spark's own Ivy, check each SHA-256, and move it into place."""
    missing = missing_jars(wanted)
    if missing:
        jar_folder().mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jar_folder()) as ivy:
            _run_ivy(missing, Path(ivy))
            for coordinate in missing:
                _accept(coordinate, wanted[coordinate], Path(ivy))
    return [jar_folder() / jar_name(coordinate) for coordinate in wanted]


def _run_ivy(coordinates: list[str], ivy: Path) -> None:
    import pyspark

    from exp_platform.spark.java import find_java_home

    nothing = ivy / "nothing.py"
    nothing.write_text("")
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    command = [str(submit), "--master", "local[1]", "--conf", f"spark.jars.ivy={ivy}"]
    command += ["--packages", ",".join(coordinates), "--exclude-packages", ",".join(_NOT_NEEDED), str(nothing)]
    environment = os.environ | {"JAVA_HOME": find_java_home(), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = next((line for line in done.stderr.splitlines() if "unresolved" in line or "Exception" in line), "")
        raise ConfigError(
            f"jars could not be resolved ({', '.join(coordinates)}): {reason.strip() or 'see below'}. "
            f"Is Maven Central reachable?\n{done.stderr[-2000:]}"
        )


def _accept(coordinate: str, sha256: str, ivy: Path) -> None:
    group, _, _ = coordinate.split(":")
    found = ivy / "jars" / f"{group}_{jar_name(coordinate)}"
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != sha256:
        raise ConfigError(f"{jar_name(coordinate)}: SHA-256 is {digest}, expected {sha256}: refusing to use it")
    shutil.move(found, jar_folder() / jar_name(coordinate))


def main() -> None:
    """`python -m exp_platform.spark.jars [object-store]`."""
    wanted = CORE | (OBJECT_STORE if "object-store" in sys.argv[1:] else {})
    for path in resolve_jars(wanted):
        print(path.name)


if __name__ == "__main__":
    main()
