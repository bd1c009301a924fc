"""A stream of events that many experiments read: configs/streams/<name>.yaml."""

from __future__ import annotations

from pydantic import Field

from exp_platform.config.models.base import Model
from exp_platform.config.models.experiment import ContractSettings
from exp_platform.config.models.source import Dataset, Source

OWNER_PREFIX = "stream."  # no experiment id holds a dot, so that a stream can't be taken for an experiment
NAMED_BY: dict[str, str] = {"outcomes": "metric_name", "attributes": "dimension"}  # kind -> column of what it delivers


class Stream(Model):
    """The contract of a stream, configs/streams/<name>.yaml."""

    name: str = Field(description="Equals the file's name: 3 to 64 small letters, digits, underscores.")
    kind: Dataset = Field(
        description="Dataset of its events; assignments and exposures carry the id of their experiment."
    )
    description: str = Field(default="", description="What the events are, for people.")
    owner: str = Field(description="The team that answers for the stream.")
    source: Source = Field(description="Where the events are, and how their columns map to the contract's.")
    delivers: tuple[str, ...] = Field(
        default=(),
        description="Of outcomes the values of metric_name, of attributes those of dimension, that experiments may "
        "read; left out: the constant of the mapping.",
    )
    freshness_hours: float = Field(
        default=24, gt=0, description="Hours after the end of a day by which its events are there."
    )
    contracts: ContractSettings | None = Field(
        default=None, description="Tolerance for bad data of this stream; left out: the profile's."
    )
    late_arrival_days: int | None = Field(
        default=None, ge=0, description="Events that arrive later than this are reported; left out: the profile's."
    )

    @property
    def owner_id(self) -> str:
        """The id under which claims, files, quarantine and manifest keep the stream's rows."""
        return OWNER_PREFIX + self.name

    @property
    def delivered(self) -> tuple[str, ...]:
        """The names that it delivers: declared ones, else those that the mapping gives; none for logs."""
        column = NAMED_BY.get(self.kind)
        if column is None or self.delivers:
            return self.delivers
        if self.source.metrics:
            return tuple(dict.fromkeys(metric.name for metric in self.source.metrics))
        constant = self.source.constants.get(column)
        return (constant,) if constant else ()


def stream_name(owner_id: str) -> str | None:
    """The stream's name in an owner id; None for the id of an experiment.

    >>> stream_name("stream.shop_events"), stream_name("exp_checkout_button_001")
    ('shop_events', None)
    """
    return owner_id.removeprefix(OWNER_PREFIX) if owner_id.startswith(OWNER_PREFIX) else None
