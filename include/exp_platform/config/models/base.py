"""The base of every configuration model, and the types that several of them use."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializerFunctionWrapHandler, model_serializer

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

    # Keys that a later release has added: at their default they are not written, so that the hash of a configuration
    # without them stays as it is.
    added_later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused_later_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        for key in self.added_later:
            if key in content and getattr(self, key) == type(self).model_fields[key].default:
                del content[key]
        return content
