"""Write .env with a secret of its own for each password and key that docker-compose.yml asks for; mode 600.

A value that .env holds already stays, so that running this again never locks a running stack out of its database.
"""

import base64
import os
import secrets
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / ".env.example"
GENERATED = {
    "POSTGRES_PASSWORD",
    "EXP_CATALOG_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "OBJECT_STORE_ACCESS_KEY",
    "OBJECT_STORE_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_SECRET_KEY",
    "AIRFLOW_ADMIN_PASSWORD",
}


def filled(example: str, present: dict[str, str]) -> str:
    """The example's lines, with the values that are there, and a new secret where there is none."""
    lines = []
    for line in example.splitlines():
        name, separator, default = line.partition("=")
        if separator and not line.startswith("#"):
            lines.append(f"{name}={present.get(name) or default or new_value(name)}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def new_value(name: str) -> str:
    """A new secret in letters and digits; empty for what is no secret."""
    if name == "AIRFLOW_FERNET_KEY":
        return base64.urlsafe_b64encode(os.urandom(32)).decode()
    return secrets.token_hex(24) if name in GENERATED else ""


def values_of(text: str) -> dict[str, str]:
    """The names and values of a .env file."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def write(path: Path) -> None:
    """Write the file for its owner alone."""
    present = values_of(path.read_text()) if path.exists() else {}
    text = filled(EXAMPLE.read_text(), present)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLE.with_name(".env")
    write(target)
    print(f"{target.name}: every secret is set; only you can read it")
