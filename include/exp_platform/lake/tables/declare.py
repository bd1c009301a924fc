"""The form in which a table is declared: its columns with type and meaning, its grain, layout and writing engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from exp_platform.config.models.stream import stream_name

Engine = Literal["spark", "pyiceberg"]

# Columns that tell of the run, not of the answer: they may differ between two runs that agree.
RUN_COLUMNS = frozenset(
    {"run_id", "input_snapshots", "code_version", "computed_at", "ingested_at", "source_file", "updated_at"}
)

UNITS = ("experiment_id", "bucket(4, user_id)")
BY_DT = ("experiment_id", "dt")

# Columns that mean one thing in every table; a declaration that gives a description of its own wins.
COMMON = {
    "experiment_id": "The experiment.",
    "user_id": "The user, as in the raw events.",
    "variant_id": "The arm.",
    "metric_name": "The metric, by the name of its contract.",
    "metric_version": "Version of the metric's contract.",
    "segment": "`all`, or `dimension=value` for the users with that value at assignment.",
    "dataset": "The dataset: assignments, exposures, outcomes or attributes.",
    "dt": "As-of date: only events before the end of this day (UTC) count.",
    "assignment_time_utc": "Time of the user's first assignment.",
    "anchor_utc": "Where the user's windows begin: the assignment (itt) or the first valid exposure (exposed).",
    "cohort_date": "UTC date of the anchor.",
    "dimensions": "Dimension to its value at assignment; one that was not known by then has no key.",
    "stage": "The stage of the pipeline.",
    "run_id": "The run that wrote the row.",
    "input_snapshots": "JSON: each table that was read, and its Iceberg snapshot.",
    "config_hash": "Hash of everything configured that can change a number of the experiment.",
    "code_version": "Version of the package, and a hash of its sources.",
    "computed_at": "When the row was computed.",
    "updated_at": "When the row was written.",
    "source_file": "The raw file; of several that hold the same row the smallest path.",
    "ingested_at": "When the row was read from its raw file.",
    "at": "When the row was written.",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """One Iceberg table: column -> type (`!` behind it: never null), grain, partition fields and sort order."""

    name: str
    doc: str
    grain: tuple[str, ...]
    columns: dict[str, str]
    descriptions: dict[str, str]  # column -> one sentence with its unit; Iceberg keeps it as the column's comment
    engine: Engine
    shows_latest_dt: bool  # holds the experiment's latest dt alone: a run with an older dt must not replace it
    partition: tuple[str, ...] = ("experiment_id",)
    sort: tuple[str, ...] = ()

    @property
    def of_streams(self) -> bool:
        """True where the rows belong to a stream, false where they belong to an experiment or to any owner."""
        return self.partition[:1] == ("stream",)

    def holds_rows_of(self, owner_id: str) -> bool:
        """True where an experiment, or a stream as `stream.<name>`, may have rows of its own."""
        if self.of_streams:
            return stream_name(owner_id) is not None
        return "experiment_id" in self.columns

    def key_of(self, owner_id: str) -> dict[str, Any]:
        """Column -> value of the rows that belong to an owner: an experiment, or a stream by its `stream.<name>`."""
        if not self.of_streams:
            return {"experiment_id": owner_id}
        return {"stream": stream_name(owner_id)}

    @property
    def has_dt(self) -> bool:
        """True where a run replaces one dt of its experiment, false where it replaces the whole experiment."""
        return "dt" in self.grain

    @property
    def types(self) -> dict[str, str]:
        """Column -> Iceberg type."""
        return {column: kind.removesuffix("!") for column, kind in self.columns.items()}

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that are never null."""
        return tuple(column for column, kind in self.columns.items() if kind.endswith("!"))

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """Columns that agree byte for byte between reruns."""
        return tuple(column for column in self.columns if column not in RUN_COLUMNS)


def declare(
    name: str,
    doc: str,
    grain: tuple[str, ...],
    columns: str,
    *,
    engine: Engine,
    shows_latest_dt: bool,
    partition: tuple[str, ...] = ("experiment_id",),
    sort: tuple[str, ...] = (),
) -> Table:
    """A table whose columns are written as text: see `read_columns`."""
    types, descriptions = read_columns(columns)
    return Table(
        name=name,
        doc=doc,
        grain=grain,
        columns=types,
        descriptions=descriptions,
        engine=engine,
        shows_latest_dt=shows_latest_dt,
        partition=partition,
        sort=sort,
    )


def read_columns(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Types and descriptions from one line for each column: name, type, description.

    A line that begins with `|` goes on with the description above it; without one the column means what `COMMON` says.

    >>> read_columns('''
    ...     experiment_id  string!
    ...     harm           double   Relative change in the bad direction,
    ...     |                       a fraction.
    ... ''')
    ({'experiment_id': 'string!', 'harm': 'double'}, {'experiment_id': 'The experiment.', 'harm': 'Relative change in the bad direction, a fraction.'})
    """  # noqa: E501
    types: dict[str, str] = {}
    descriptions: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("|"):
            last = next(reversed(types))
            descriptions[last] += " " + line.removeprefix("|").strip()
            continue
        name, kind, *words = line.split(maxsplit=2)
        types[name] = kind
        if description := words[0] if words else COMMON.get(name):
            descriptions[name] = description
    return types, descriptions


def bucket_of(partition_field: str) -> tuple[int, str] | None:
    """Number of buckets and column of a declared `bucket(n, column)`; None for a column as it is."""
    if not partition_field.startswith("bucket("):
        return None
    count, column = partition_field.removeprefix("bucket(").rstrip(")").split(",")
    return int(count), column.strip()


def dates_of(table: Table) -> tuple[str, ...]:
    """The dates by which a table's files lie, besides that of the run."""
    return tuple(column for column in table.partition if table.types.get(column) == "date" and column != "dt")
