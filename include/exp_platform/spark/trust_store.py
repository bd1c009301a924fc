"""The certificates that a JVM trusts, where the store or the catalog has a certificate authority of its own."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog_properties import catalog_ca_file
from exp_platform.lake.s3 import ca_file
from exp_platform.paths import clone_root
from exp_platform.spark.java import find_java_home

EXECUTOR_NAME = "exp_trust_store"  # the file's name in an executor's working directory
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_WORD = "changeit"  # a trust store holds no secret; this word is that of every Java's own


def authorities(project: Project) -> str:
    """The PEM text of the profile's own certificate authorities; empty where those of the machine will do."""
    store = project.profile.object_store
    files = [ca_file(project)] if store is not None and store.ca_file else []
    files += [catalog_ca_file(project)] if project.profile.catalog.ca_file else []
    return "\n".join(Path(file).read_text() for file in dict.fromkeys(files))


def trust_store(project: Project) -> Path | None:
    """A trust store with Java's own authorities and the profile's; None where the profile has none.

    It is made once for each content, because Java reads no PEM file.
    """
    text = authorities(project)
    if not text:
        return None
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ConfigError("ca_file: no certificate in it; expected a PEM file with `-----BEGIN CERTIFICATE-----`")
    digest = hashlib.sha256(f"{find_java_home()}{text}".encode()).hexdigest()[:16]
    store = clone_root() / ".setup" / f"trust-{digest}" / EXECUTOR_NAME
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store.parent) as folder:
            made = Path(folder) / EXECUTOR_NAME
            _make(made, found)
            made.replace(store)
    return store


def trust_options(place: str) -> str:
    """Options by which a JVM trusts what the store at a place holds."""
    return f"-Djavax.net.ssl.trustStore={place} -Djavax.net.ssl.trustStorePassword={_WORD}"


def _make(store: Path, certificates: list[str]) -> None:
    home = Path(find_java_home())
    shutil.copyfile(home / "lib" / "security" / "cacerts", store)
    store.chmod(0o644)
    for number, certificate in enumerate(certificates):
        command = [str(home / "bin" / "keytool"), "-importcert", "-noprompt", "-keystore", str(store)]
        command += ["-storepass", _WORD, "-alias", f"exp-{number}"]
        done = subprocess.run(command, input=certificate, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise ConfigError(
                f"ca_file: its certificate {number + 1} is refused by keytool ({said[0] if said else ''})"
            )
