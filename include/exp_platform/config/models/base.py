"""The base of every configuration model, and the types that several of them use."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

ID_PATTERN = r"[a-z][a-z0-9_]{2,63}"


def _as_utc(value: object) -> object:
    """A time without a zone is UTC; a bare date is its first instant."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


UtcTime = Annotated[datetime, BeforeValidator(_as_utc)]


class Model(BaseModel):
    """Read once, never changed, no unknown keys; each key has a description, which editors and pages show."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
