"""Locked packages are not older than the first version without a known fault that touches this platform."""

from __future__ import annotations

import re

import pytest
from packaging.version import Version

from exp_platform.paths import clone_root

# Package -> oldest version that may be locked, and what was wrong before.
OLDEST = {
    "pyarrow": ("14.0.1", "CVE-2023-47248: a file of the raw zone could run code when it was read"),
    "jinja2": ("3.1.6", "CVE-2025-27516: the sandbox of templates could be left"),
    "requests": ("2.32.4", "CVE-2024-47081: the password of .netrc could go to another host"),
    "urllib3": ("2.5.0", "CVE-2025-50181: redirects were followed although they were turned off"),
    "cryptography": ("44.0.1", "CVE-2024-12797: a server's identity was not always checked"),
    "werkzeug": ("3.0.6", "CVE-2024-49767: a form could take all memory"),
    "aiohttp": ("3.10.11", "CVE-2024-52304: requests could be smuggled"),
    "starlette": ("0.49.1", "CVE-2025-62727: a header could take all processor time"),
    "pyyaml": ("5.4", "CVE-2020-14343: a full load could run code; only safe loaders are used here"),
    "sqlparse": ("0.5.0", "CVE-2024-4340: nested lists ended in a crash"),
    "certifi": ("2024.7.4", "CVE-2024-39689: a root that is no longer trusted"),
    "idna": ("3.7", "CVE-2024-3651: a name could take all processor time"),
}


def locked() -> dict[str, Version]:
    text = (clone_root() / "requirements.txt").read_text()
    return {name.lower(): Version(version) for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M)}


@pytest.mark.parametrize("name", sorted(OLDEST))
def test_no_locked_package_is_older_than_its_last_known_fault(name: str) -> None:
    oldest, fault = OLDEST[name]
    found = locked().get(name)
    assert found is None or found >= Version(oldest), f"{name} {found} has {fault}: raise it to {oldest} or later"


def test_every_locked_package_has_a_hash() -> None:
    text = (clone_root() / "requirements.txt").read_text()
    blocks = re.split(r"\n(?=\S)", text)
    assert [block.split()[0] for block in blocks if block.strip() and "--hash=sha256:" not in block] == []


def test_the_containers_do_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", (clone_root() / "Dockerfile").read_text(), re.M)
    assert users
    assert users[-1] not in ("root", "0")
