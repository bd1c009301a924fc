"""Times as sources write them: ISO 8601, a pattern of their own, or a count since 1970, in their zone."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from exp_platform.config.models.source import EPOCHS
from exp_platform.errors import ConfigError
from exp_platform.ingest.engine_errors import reason_of

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

# ISO 8601 with date and time; without a zone it is UTC. Spark's own cast would also take `12:30` (today!) or `2026`.
_ZONE = r"(Z|UTC|[+-]\d{2}(:?\d{2})?)"
TIME_PATTERN = r"^\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?\s*" + _ZONE + r"?\s*$"
TIME_SHOWN = "YYYY-MM-DDTHH:MM[:SS[.fraction]][Z|±HH[:MM]]"

_MICROS = dict(zip(EPOCHS, (1_000_000, 1_000, 1), strict=True))
_FARTHEST = 9_000_000_000_000_000_000  # microseconds, just below what 64 bits hold; far times are refused by a rule


def is_epoch(written: str | None) -> bool:
    """True where times are counts since 1970."""
    return written in _MICROS


def parsed_time(text: Column, written: str | None, zone: str | None) -> Column:
    """The time that a text spells in the given form; null where it spells none."""
    if written in _MICROS:
        return epoch_time(text, written)
    if written is not None:
        time = F.try_to_timestamp(F.trim(text), F.lit(written))
        return time if _names_zone(written) else in_zone(time, zone)
    trimmed = F.trim(text)
    # Spark accepts a zone only after seconds.
    with_seconds = F.regexp_replace(trimmed, r"^(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2})(?!:)", "$1:00")
    time = F.coalesce(trimmed.try_cast("timestamp"), with_seconds.try_cast("timestamp"))
    if zone is not None:
        time = F.when(trimmed.rlike(r":\d{2}([.]\d+)?\s*" + _ZONE + "$"), time).otherwise(in_zone(time, zone))
    return F.when(text.rlike(TIME_PATTERN), time)


def epoch_time(count: Column, written: str) -> Column:
    """The time that a count since 1970 stands for, rounded down to microseconds; null where there is no count."""
    micros = F.floor(count.try_cast("decimal(28,6)") * F.lit(_MICROS[written]))
    return F.when(F.abs(micros) < F.lit(_FARTHEST), F.timestamp_micros(micros.try_cast("bigint")))


def in_zone(time: Column, zone: str | None) -> Column:
    """The instant at which a clock of the zone shows the time that was read as UTC."""
    return time if zone is None else F.to_utc_timestamp(time, zone)


def check_pattern(spark: SparkSession, written: str | None) -> None:
    """Refuse a pattern that Spark does not know, with one sentence."""
    if written is None or is_epoch(written):
        return
    if reason := _refusal(spark, written):
        raise ConfigError(
            f"sources: timestamp_format: found {written!r}: {reason}; expected a pattern such as dd.MM.yyyy HH:mm:ss, "
            f"or {', '.join(EPOCHS)}"
        )


@cache
def _refusal(spark: SparkSession, written: str) -> str:
    try:
        spark.range(1).select(F.try_to_timestamp(F.lit("2026-02-01"), F.lit(written))).collect()
    except PySparkException as error:
        return reason_of(error).rstrip(".")
    return ""


def _names_zone(written: str) -> bool:
    """True where a pattern reads a zone with the time.

    >>> _names_zone("yyyy-MM-dd'T'HH:mm:ssX"), _names_zone("dd.MM.yyyy HH:mm 'Z'")
    (True, False)
    """
    return re.search("[VzOXxZ]", re.sub("'[^']*'", "", written)) is not None
